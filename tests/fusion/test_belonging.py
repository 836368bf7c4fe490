"""Sketches of data sets, against the whole lists."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fusion
from fusion.agreement import agreed_metadata, check_agreement
from fusion.belonging import SIZE, Sketch, apart, difference, merged, same_file, same_word
from fusion.errors import InputError
from fusion.learned import TunedOn, agreed_origin
from fusion.recipe import OUTPUT, Node, Recipe
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata


def sketch(ids, name="{}.jpg", size=(640, 480)):
    ids = np.array(ids, dtype=object if ids and isinstance(ids[0], str) else np.int64)
    return Sketch.of(ids, [name.format(i) for i in ids.tolist()], np.tile(size, (len(ids), 1)))


def table(images, member="a", **metadata):
    return DetectionTable.from_arrays(
        image_id=[1, 2],
        category_id=[1, 1],
        score=[0.5, 0.25],
        xywh=[[0.0, 0, 5, 5]] * 2,
        metadata=Metadata(member=member, images=images, **metadata),
    )


def test_names_that_are_no_text_can_be_stored():
    one = Sketch.of(np.array([1]), ["\ud83d.jpg"])
    assert msgspec.json.decode(msgspec.json.encode(one), type=Sketch) == one


@given(st.sets(st.integers(-(2**63), 2**63 - 1), max_size=40), st.randoms())
def test_order_does_not_matter(ids, random):
    ids = list(ids)
    turned = random.sample(ids, len(ids))
    assert sketch(ids) == sketch(turned)


@given(st.integers(1, 3 * SIZE), st.integers(1, 3 * SIZE), st.integers(0, 4 * SIZE), st.booleans())
def test_what_samples_tell_is_true_of_the_lists(first, second, shift, text):
    """Two windows of one data set never differ; they are apart only if they share no image."""
    name = (lambda i: f"image {i}") if text else (lambda i: i)
    one = [name(i) for i in range(first)]
    other = [name(i) for i in range(shift, shift + second)]
    a, b = sketch(one), sketch(other)
    assert difference(a, b, same_file) is None
    shared = set(one) & set(other)
    if apart(a, b):
        assert len(shared) < 0.3 * min(first, second)
    if not shared:
        assert apart(a, b)
    elif first == second and shift == 0:
        assert not apart(a, b)


@given(st.integers(1, 3 * SIZE), st.integers(1, 3 * SIZE))
def test_another_data_set_is_told_by_what_stands_behind_an_id(first, second):
    a, b = sketch(list(range(first))), sketch(list(range(second)), name="x{}.jpg")
    found = difference(a, b, same_file)
    if min(first, second) * 8 >= max(first, second):
        assert found is not None
        assert (found.one, found.other) == (f"'{found.id}.jpg', 640 x 480", f"'x{found.id}.jpg', 640 x 480")
    assert difference(a, sketch(list(range(first)), size=(480, 640)), same_file) is not None
    assert difference(a, sketch(list(range(first)), size=(0, 0)), same_file) is None


@given(st.sets(st.integers(0, 2000), min_size=1), st.sets(st.integers(0, 2000), min_size=1))
def test_merged_is_the_sketch_of_both(one, other):
    a, b = sketch(sorted(one)), sketch(sorted(other))
    both, whole = merged([a, None, b]), sketch(sorted(one | other))
    assert both is not None
    assert whole.sample[: len(both.sample)] == both.sample
    assert difference(both, whole, same_file) is None
    if len(one | other) <= SIZE:
        assert both.sample == whole.sample
    assert merged([None]) is None
    assert merged([a, a]) == a


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("val2017/0001.jpg", "0001.jpg", True),
        ("a\\b\\0001.JPG", "b/0001.png", True),
        ("e\u0301.jpg", "\u00e9.jpg", True),
        ("a/1.jpg", "b/1.jpg", False),
        ("11.jpg", "1.jpg", False),
        ("frame.001", "frame.002", False),
        ("./1.jpg", "1.jpg", True),
    ],
)
def test_file_names(one, other, same):
    assert same_file(one, other) is same_file(other, one) is same


def test_words():
    assert same_word("Traffic_Light", "traffic  light")
    assert not same_word("St. Bernard", "St. Louis")


def test_tables_of_different_data_sets_are_not_fused():
    a, b = table(sketch([1, 2, 3])), table(sketch([1, 2, 3], name="x{}.jpg"), "b")
    with pytest.raises(
        InputError, match=r"tables a and b: are of different data sets: image \d is '\d.jpg', 640 x 480"
    ):
        fusion.wbf([a, b])
    with pytest.raises(InputError, match="are of different images: none of 3 and 2 is in both"):
        fusion.nms([a, table(sketch([7, 8]), "b")])


def test_what_is_of_one_data_set_is_fused():
    a, b = table(sketch([1, 2, 3])), table(sketch([1, 2, 4], name="val/{}.png"), "b")
    fused = fusion.wbf([a, b, table(None, "c")])
    assert fused.metadata.images is not None
    assert {entry[0] for entry in fused.metadata.images.sample} == {1, 2, 3, 4}
    with pytest.raises(InputError, match="are of different data sets"):  # also by what was fused before
        fusion.concat([fused, table(sketch([4], name="x{}.jpg"), "d")])


def test_categories_that_differ_are_named():
    names = [Sketch.of(np.array([1, 2]), words) for words in (("cat", "dog"), ("cat", "dogs"))]
    tables = [
        table(None, member, categories=member, category_names=name) for member, name in zip("ab", names, strict=True)
    ]
    with pytest.raises(InputError, match="category 2 is 'dog' in one and 'dogs' in the other"):
        check_agreement(tables)
    assert agreed_metadata(tables[:1], False).category_names == names[0]


def test_a_recipe_of_other_categories_is_refused():
    origin = TunedOn(
        fingerprint="f", images=5, note="weights by AP", categories="one", category_names={"1": "cat", "2": "dog"}
    )
    recipe = Recipe({OUTPUT: Node(fusion.Nms(), ("*",))}, origin)
    other = Sketch.of(np.array([1, 2]), ("cat", "dogs"))
    with pytest.raises(
        InputError, match=r"on table a: was learned .*: category 2 is 'dog' there, not 'dogs' \(weights"
    ):
        recipe.fuse([table(None, categories="two", category_names=other)])
    for fitting in (table(sketch([9]), categories="one"), table(None)):  # other images of the data set, or unknown
        assert len(recipe.fuse([fitting])) == 2


def test_learned_files_of_different_data_sets_do_not_go_together():
    one, other = (TunedOn(fingerprint="", images=1, categories=name) for name in "ab")
    assert agreed_origin({"a.toml": None, "b.toml": one, "c.toml": one}) is one
    with pytest.raises(InputError, match=r"b\.toml: was learned on other categories than those of a\.toml"):
        agreed_origin({"a.toml": one, "b.toml": other})


def test_kept_on_disk_and_old_tables_are_read(tmp_path, monkeypatch):
    given = table(sketch(["a", "b"]), category_names=Sketch.of(np.array([1]), ["cat"]), categories="c")
    write_table(given, tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").metadata == given.metadata
    old = {"version": 1, "unit": "pixel", "categories": "c", "member": "a", "boxes": "given", "made_by": {}}
    encode = msgspec.json.encode
    monkeypatch.setattr(msgspec.json, "encode", lambda value, **_: encode(old))
    write_table(given, tmp_path / "old.parquet")
    assert read_table(tmp_path / "old.parquet").metadata == Metadata(member="a", categories="c")

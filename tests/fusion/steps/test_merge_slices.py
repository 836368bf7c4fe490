import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle

from fusion import merge_slices
from fusion.errors import InputError
from fusion.masks import mask_array
from fusion.recipe_toml import parse_recipe
from fusion.run import apply, trace
from fusion.slices import read_offsets
from fusion.soft_masks import soft_mask_array
from fusion.steps.merge_slices import MergeSlices
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable
from tests.oracles import masks as mask_oracle
from tests.oracles import slices as oracle

WIDTH, HEIGHT = SIZE = (40, 30)
OFFSETS = {"left": (0, 0, *SIZE), "right": (17, 3, *SIZE), "off": (-4, 21, *SIZE)}


def table(view, xywh, score, *, category=None, masks=None, image=None, member=None, **more):
    n = len(score)
    if masks is not None:
        sides = [(0, 0) if mask is None else mask.shape for mask in masks]
        texts = [mask if mask is None else rle.encode(np.asfortranarray(mask, np.uint8))["counts"] for mask in masks]
        more["mask"] = mask_array(*zip(*sides, strict=True), texts)
    return DetectionTable.from_arrays(
        image_id=image or [1] * n,
        category_id=category or [1] * n,
        score=score,
        xywh=np.array(xywh, float).reshape(n, 4),
        view=[view] * n if isinstance(view, str) else view,
        **more,
    ).with_metadata(member=member)


def random_table(rng, member, size, *, ties, masked):
    low, side = rng.random((size, 2)) * 20 - 2, rng.random((size, 2)) * 14
    score = rng.random(size)
    if ties:
        low, side, score = low.round(), side.round(), rng.choice([0.25, 0.5, 0.75], size)
    height, width = int(rng.integers(1, 26)), int(rng.integers(1, 26))
    bitmaps = [
        None if kind < 0.2 else rng.random((height, width)) < (0.0 if kind < 0.3 else kind) for kind in rng.random(size)
    ]
    return table(
        rng.choice(list(OFFSETS), size).tolist(),
        np.hstack([low, side]),
        score,
        category=rng.integers(1, 3, size).tolist(),
        masks=bitmaps if masked else None,
        image=np.sort(rng.integers(1, 3, size)).tolist(),
        member=member,
    )


def rows_of(tables):
    rows = []
    for one in tables:
        for row in one.arrow.to_pylist():
            x, y, *_ = place = OFFSETS[row["view"]]
            mask = row.get("mask")
            bitmap = mask and mask_oracle.decoded({"size": [mask["height"], mask["width"]], "counts": mask["counts"]})
            left, top = row["x"] + x, row["y"] + y
            rows.append(
                {
                    "key": (row["image_id"], row["category_id"]),
                    "score": row["score"],
                    "box": (left, top, left + row["w"], top + row["h"]),
                    "mask": None if mask is None else oracle.placed(bitmap, place[:2], SIZE),
                    "row": len(rows),
                }
            )
    return rows


@settings(max_examples=120, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 6, 40]),
    st.sampled_from(["ios", "iou"]),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.sampled_from(["union", "best"]),
    st.booleans(),
    st.booleans(),
)
def test_equals_the_plain_definition(seed, size, measure, threshold, merge, ties, masked):
    rng = np.random.default_rng(seed)
    tables = [random_table(rng, name, size, ties=ties, masked=masked) for name in "ab"]
    fused, sources = trace(MergeSlices(offsets=OFFSETS, measure=measure, threshold=threshold, merge=merge), tables)
    rows = rows_of(tables)
    expected = []
    for key in sorted({row["key"] for row in rows}):
        inside = [row for row in rows if row["key"] == key]
        expected += [(key, *entry) for entry in oracle.merged(inside, measure, threshold, merge)]
    assert [sources.row[a:b].tolist() for a, b in zip(sources.start, sources.start[1:], strict=False)] == [
        entry[-1] for entry in expected
    ]
    assert list(zip(fused.image_id.tolist(), fused.category_id.tolist(), strict=True)) == [key for key, *_ in expected]
    assert fused.score.tolist() == [entry[1] for entry in expected]
    for box, (_, _, row, (x1, y1, x2, y2), *_) in zip(fused.xywh.tolist(), expected, strict=True):
        given_box = np.concatenate([one.xywh for one in tables])[row].tolist()
        assert box == ([x1, y1, x2 - x1, y2 - y1] if merge == "union" else [x1, y1, *given_box[2:]])
    if masked:
        for mask, (*_, bitmap, _) in zip(fused.mask.to_pylist(), expected, strict=True):
            assert (mask is None) == (bitmap is None)
            if mask is not None:
                assert (mask["width"], mask["height"]) == SIZE
                assert mask["counts"] == rle.encode(np.asfortranarray(bitmap, np.uint8))["counts"]
    assert "view" not in fused.arrow.column_names


def test_an_object_cut_by_two_slices():
    left = table("left", [[10, 5, 10, 10]], [0.6], member="m")
    right = table("right", [[0, 2, 20, 10]], [0.9], member="n")
    fused = merge_slices([left, right], offsets={"left": [0, 0], "right": [18, 3]}, measure="iou", threshold=0.05)
    assert fused.xywh.tolist() == [[10, 5, 28, 10]]
    assert fused.score.tolist() == [0.9]
    best = merge_slices(
        [left, right], offsets={"left": [0, 0], "right": [18, 3]}, measure="iou", threshold=0.05, merge="best"
    )
    assert best.xywh.tolist() == [[18, 5, 20, 10]]
    assert best.member.to_pylist() == ["n"]


def test_what_no_longer_matches_the_grown_box_is_dropped():
    """The best box claims both others, grows around the first, and is then too large for the second."""
    boxes = [[0, 0, 2, 2], [0, 0, 20, 20], [0, 0, 2, 30]]
    fused = merge_slices(table("v", boxes, [0.9, 0.8, 0.7]), offsets={"v": [0, 0]}, threshold=0.7)
    assert fused.xywh.tolist() == [[0, 0, 20, 20]]


def test_a_box_alone_keeps_all_but_its_view():
    one = table(["left", "right"], [[1, 2, 3, 4], [1, 2, 3, 4]], [0.5, 0.25], member="m")
    fused = merge_slices(one, offsets=OFFSETS, merge="best")
    assert fused.xywh.tolist() == [[1, 2, 3, 4], [18, 5, 3, 4]]
    assert fused.arrow.column_names == ["image_id", "category_id", "score", "x", "y", "w", "h", "member"]


def test_far_sides_and_soft_masks_go_along():
    soft = soft_mask_array(np.full((1, 2, 2), 0.5), 8, 9)
    one = DetectionTable.from_arrays(
        image_id=[1], category_id=[1], score=[0.5], xyxy=[[0.1, 0.2, 0.7, 0.9]], soft_mask=soft, view=["right"]
    )
    [row] = merge_slices(one, offsets=OFFSETS, merge="best").arrow.to_pylist()
    assert (row["x"], row["y"]) == (0.1 + 17, 0.2 + 3)
    assert (row["soft_mask"]["height"], row["soft_mask"]["width"]) == (HEIGHT, WIDTH)
    assert row["soft_mask"]["values"] == [0.5] * 4
    assert "soft_mask" not in merge_slices(one, offsets=OFFSETS).arrow.column_names


def test_offsets_from_files(tmp_path):
    (tmp_path / "a.csv").write_text("view,x,y\nleft,0,0\nright,17,3\n")
    (tmp_path / "b.toml").write_text("left = [0, 0]\nright = [17, 3]\n")
    assert read_offsets(tmp_path / "a.csv") == read_offsets(tmp_path / "b.toml") == {"left": [0, 0], "right": [17, 3]}
    (tmp_path / "c.csv").write_text("view,x,y,width,height\nleft,0,0,40,30\n")
    assert read_offsets(tmp_path / "c.csv") == {"left": [0, 0, 40, 30]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,x,y\n", "expected a first line view,x,y"),
        ("view,x,y\nleft,0\n", "line 2: expected view,x,y with whole numbers, got 'left,0'"),
        ("view,x,y\nleft,0,1.5\n", "line 2: expected view,x,y with whole numbers"),
        ("view,x,y\nleft,0,1\nleft,2,1\n", "line 3: view 'left' is there twice"),
        ("", "expected a first line view,x,y"),
    ],
)
def test_faults_of_files_are_named(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_offsets(tmp_path / "a.csv")


def test_faults_are_named(tmp_path):
    with pytest.raises(InputError, match="expected a file of slices"):
        read_offsets(tmp_path / "none.csv")
    with pytest.raises(InputError, match="expected views with"):
        MergeSlices(offsets={})
    with pytest.raises(InputError, match=r"offsets.left.*: expected \[x, y\] or"):
        MergeSlices(offsets={"left": [1, 2, 3]})
    with pytest.raises(InputError, match="expected a list of whole numbers"):
        MergeSlices(offsets={"left": [1.5, 2]})
    with pytest.raises(InputError, match="expected an image of 1 to"):
        MergeSlices(offsets={"left": [0, 0, 0, 9]})
    with pytest.raises(InputError, match="above 0"):
        MergeSlices(offsets=OFFSETS, threshold=0)
    with pytest.raises(InputError, match="there is none for view 'left'; they are for 'right'"):
        merge_slices(table("left", [[0, 0, 1, 1]], [0.5]), offsets={"right": [0, 0]})
    with pytest.raises(InputError, match="not all views say how large"):
        merge_slices(table("left", [[0, 0, 1, 1]], [0.5], masks=[np.ones((2, 2))]), offsets={"left": [0, 0]})
    one = table(["left", "right"], [[0, 0, 1, 1]] * 2, [0.5, 0.4], masks=[np.ones((2, 2))] * 2)
    with pytest.raises(InputError, match="views of image 1 are of images of 9 x 9 and 9 x 8 pixels"):
        merge_slices(one, offsets={"left": [0, 0, 9, 9], "right": [0, 0, 9, 8]})
    with pytest.raises(InputError, match="boxes are normalized"):
        merge_slices(one.with_metadata(unit="normalized"), offsets=OFFSETS)
    bad = DetectionTable.from_arrays(
        image_id=[1], category_id=[1], score=[0.5], xywh=[[0.0, 0, 1, 1]], view=["left"],
        mask=mask_array([2], [2], [b"\xff"]),
    )  # fmt: skip
    with pytest.raises(InputError, match="row 0: expected a mask"):
        merge_slices(bad, offsets=OFFSETS)


def test_the_command_line_and_recipes(run, tmp_path):
    one = table(["left", "right"], [[20, 6, 8, 8], [3, 3, 8, 8]], [0.5, 0.25], member="m")
    write_table(one, tmp_path / "m.parquet")
    (tmp_path / "slices.csv").write_text("view,x,y\nleft,0,0\nright,17,3\n")
    out, recipe = tmp_path / "out.parquet", tmp_path / "recipe.toml"
    code, _, err = run(
        "fuse", tmp_path / "m.parquet", "--method", "merge_slices", "--offsets", tmp_path / "slices.csv", "-o", out,
        "--save-recipe", recipe,
    )  # fmt: skip
    assert code == 0, err
    fused = read_table(out)
    assert fused.xywh.tolist() == [[20, 6, 8, 8]]
    again = parse_recipe(recipe.read_text(), recipe)
    assert again.nodes["output"].step == MergeSlices(offsets={"left": (0, 0), "right": (17, 3)})
    named = 'recipe = 1\n[nodes.output]\nstep = "merge_slices"\ninputs = ["*"]\noffsets = "slices.csv"\n'
    assert parse_recipe(named, os.fspath(tmp_path / "by_name.toml")).nodes["output"].step == again.nodes["output"].step
    code, _, err = run("fuse", tmp_path / "m.parquet", "--method", "merge_slices", "-o", out)
    assert code == 2
    assert "expected --offsets. Give the file" in err


def as_predictions(rows):
    from sahi.prediction import ObjectPrediction

    return [
        ObjectPrediction(bbox=list(row["box"]), score=row["score"], category_id=row["key"][1], full_shape=None)
        for row in rows
    ]


@pytest.mark.parametrize("measure", ["ios", "iou"])
@pytest.mark.parametrize("merge", ["union", "best"])
def test_equals_the_public_package(measure, merge):
    combine = pytest.importorskip("sahi.postprocess.combine", reason="the public package is an optional peer")
    kind = combine.GreedyNMMPostprocess if merge == "union" else combine.NMSPostprocess
    for seed in range(30):
        rng = np.random.default_rng(seed)
        low, side = rng.integers(0, 9, (60, 2)), rng.integers(5, 15, (60, 2))
        # no ties of score, as they go by row here, and numbers that float32 has
        score, category = rng.permutation(60) / 64, rng.integers(1, 3, 60)
        view = rng.choice(["left", "right"], 60).tolist()
        one = table(view, np.hstack([low, side]), score, category=category.tolist(), member="a")
        theirs = kind(match_threshold=0.5, match_metric=measure.upper(), class_agnostic=False)(
            as_predictions(rows_of([one]))
        )
        fused = apply(MergeSlices(offsets=OFFSETS, measure=measure, merge=merge), one)
        x, y, w, h = fused.xywh.T
        ours = zip(fused.category_id, fused.score, x, y, x + w, y + h, strict=True)
        assert len(fused) < 50
        assert sorted(tuple(map(float, row)) for row in ours) == sorted(
            (float(p.category.id), float(p.score.value), *map(float, p.bbox.to_xyxy())) for p in theirs
        )

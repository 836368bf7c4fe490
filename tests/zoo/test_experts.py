"""What an expert learns: categories, those confused with them, images; the command on drawn data."""

# ruff: noqa: E402

import json
import shutil

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from evaluation import read_coco
from evaluation.cli.truth import OpenImagesFiles
from evaluation.ground_truth import GroundTruth, Labels
from fusion.errors import InputError
from fusion.hierarchy import Hierarchy
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable
from tests.zoo.data.cases import truth_of
from zoo.at_test import with_categories_of
from zoo.cli.experts import zoo_experts
from zoo.cli.training import predict
from zoo.config import Model, Stream, replace
from zoo.data import epoch_order, open_data
from zoo.experts import choose_lesson, confusions, siblings, worst_categories
from zoo.inference import load_model
from zoo.runs import Identity, read_json, write_json
from zoo.scale import tiny
from zoo.synthetic.rendered import scenes
from zoo.train import train


def csr(listed):
    start = np.cumsum([0, *map(len, listed)]).astype(np.int64)
    return Labels(start, np.array([c for own in listed for c in own], np.int32))


def lesson_of(listed, positive, likeness, **options):
    k = len(likeness)
    options = {"threshold": None} | options
    ids = 10 * np.arange(1, k + 1)
    return choose_lesson(csr(listed), ids, [f"c{n}" for n in range(k)], positive, np.array(likeness, float), **options)


IMAGES = st.lists(st.lists(st.integers(0, 4), unique=True).map(sorted), min_size=1, max_size=8)
LIKENESS = st.lists(st.lists(st.integers(-2, 8), min_size=5, max_size=5), min_size=5, max_size=5)


@given(IMAGES, LIKENESS, st.sets(st.integers(0, 4), min_size=1), st.none() | st.integers(0, 6), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_the_choice_is_as_it_is_told(listed, likeness, positive, threshold, ratio):
    having = [image for image, own in enumerate(listed) if positive & set(own)]
    given_ids = [10 * (place + 1) for place in positive]
    options = {"threshold": None if threshold is None else float(threshold)}
    options["ratio"] = float(ratio) if threshold is None or ratio < 3 else None
    if not having:
        with pytest.raises(InputError, match="no image has an object"):
            lesson_of(listed, given_ids, likeness, **options)
        return
    lesson = lesson_of(listed, given_ids, likeness, **options)
    strength = {place: max(likeness[place][own] for own in positive) for place in range(5) if place not in positive}
    order = sorted(strength, key=lambda place: (-strength[place], place))
    alone = [[c for c in own if c in strength] if image not in having else [] for image, own in enumerate(listed)]

    def images_of(chosen):
        return {image for image, own in enumerate(alone) if set(own) & set(chosen)}

    if threshold is not None:
        wanted = [place for place in order if strength[place] > threshold]
    else:
        able = [place for place in order if strength[place] > 0]
        lengths = [n for n in range(1, len(able) + 1) if len(images_of(able[:n])) >= ratio * len(having)]
        wanted = able[: lengths[0]] if lengths else able
    assert lesson.positive.tolist() == sorted(positive)
    assert lesson.confused.tolist() == wanted
    for place, other, much in zip(lesson.confused, lesson.with_which, lesson.likeness, strict=True):
        assert other in positive
        assert much == likeness[place][other] == strength[place]
    assert lesson.having == len(having)
    found = lesson.images.tolist()
    assert found == sorted(set(found))
    assert set(having) <= set(found)
    rest = set(found) - set(having)
    assert rest <= images_of(wanted)
    most = len(listed) if options["ratio"] is None else ratio * len(having)
    assert len(rest) == min(most, len(images_of(wanted)))
    assert lesson.ratio == pytest.approx(len(rest) / len(having))


def test_more_images_than_wanted_are_drawn_evenly_over_the_confused_categories():
    listed = [[0]] * 5 + [[1]] * 100 + [[2]] * 5
    likeness = np.ones((3, 3))
    draws = [lesson_of(listed, [10], likeness, threshold=0.5, ratio=2.0, seed=seed).images for seed in (0, 0, 1)]
    for images in draws:
        assert np.isin(np.arange(105, 110), images).all(), "five rounds, one image of each category a round"
        assert ((images >= 5) & (images < 105)).sum() == 5
    assert draws[0].tolist() == draws[1].tolist() != draws[2].tolist()


def test_worst_categories():
    ap = {3: 0.5, 1: 0.2, 4: 0.2, 9: float("nan"), 7: 0.0}
    assert worst_categories(ap, 3) == [7, 1, 4]
    for wrong in (0, 5):
        with pytest.raises(InputError, match="expected 1 to 4"):
            worst_categories(ap, wrong)


def test_the_share_of_wrong_detections():
    matrix = np.array([[6, 2, 1], [1, 6, 3], [5, 5, 0]])
    assert confusions(matrix).tolist() == [[0, 2 / 8], [1 / 7, 0]]
    assert confusions(np.zeros((3, 3), int)).tolist() == [[0, 0], [0, 0]]


def test_siblings_have_a_parent_in_common():
    tree = {"LabelName": "root", "Subcategory": [
        {"LabelName": "animal", "Subcategory": [
            {"LabelName": "dog", "Subcategory": [{"LabelName": "puppy"}, {"LabelName": "hound"}]},
            {"LabelName": "cat"}, {"LabelName": "duck"}]},
        {"LabelName": "food", "Subcategory": [{"LabelName": "duck"}, {"LabelName": "soup"}]},
    ]}  # fmt: skip
    names = ("animal", "dog", "puppy", "hound", "cat", "duck", "food", "soup", "stone")
    truth = GroundTruth.from_arrays(
        image_id=[1], category_id=range(9), category_name=names, annotation_image_id=[], annotation_category_id=[],
        xywh=np.zeros((0, 4)),
    )  # fmt: skip
    found = siblings(Hierarchy.from_tree(tree), truth)
    pairs = {(names[i], names[j]) for i, j in zip(*np.nonzero(found), strict=True)}
    expected = {("puppy", "hound"), ("dog", "cat"), ("dog", "duck"), ("cat", "duck"), ("duck", "soup")}
    assert pairs == expected | {(b, a) for a, b in expected}
    with pytest.raises(InputError, match="none of the 2 categories"):
        siblings(Hierarchy.from_tree(tree), truth_of([[1, 2]]))


# the command, on pictures


def small():
    model = tiny(Model())
    settings = {"segments": (), "steps": 1, "batch": 2, "reference_batch": 2, "warmup_steps": 0}
    return replace(model, data=replace(model.data, short=(64,), long=64), train=replace(model.train, **settings))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts")
    scenes(folder / "set", images=12, size=64, categories=5)
    data = f"coco:{folder / 'set' / 'instances.json'},{folder / 'set' / 'images'}"
    train(small(), open_data(data), folder / "base")
    return folder, data


def categories_by_image(path):
    document = json.loads(path.read_text())
    found = {image["id"]: set() for image in document["images"]}
    for one in document["annotations"]:
        if not one["iscrowd"]:
            found[one["image_id"]].add(one["category_id"])
    return found


def ids_in(path):
    return [int(line.split()[0]) for line in path.read_text().splitlines()]


def test_by_cosine_of_a_training(place, tmp_path, capsys):
    folder, data = place
    network, _ = load_model(folder / "base")
    weight = network.boxes.stages[0].classifier.linear.weight[1:]
    v = torch.nn.functional.normalize(weight, dim=1)
    alike = (v @ v[[1, 3]].T).max(1).values
    threshold = float(sorted(alike[[0, 2, 4]].tolist())[1]) - 1e-6  # two of the three are above
    zoo_experts(data=data, output=tmp_path / "e", categories="2+4", run=folder / "base", threshold=threshold)
    expected = {place + 1 for place in (0, 2, 4) if alike[place] > threshold}  # as `confused_classes` of the checks
    assert len(expected) == 2
    assert ids_in(tmp_path / "e" / "positive.txt") == [2, 4]
    assert set(ids_in(tmp_path / "e" / "confused.txt")) == expected
    wanted = [
        i for i, own in categories_by_image(folder / "set" / "instances.json").items() if own & ({2, 4} | expected)
    ]
    assert ids_in(tmp_path / "e" / "images.txt") == sorted(wanted)
    said = capsys.readouterr()
    assert "2 categories, 2 confused with them" in said.err
    # what the file says is what a training takes
    spec = (tmp_path / "e" / "data.txt").read_text().strip()
    own = open_data(spec)
    assert own.image_ids == sorted(wanted)
    assert own.category_ids.tolist() == [2, 4]
    orders = (epoch_order(own, Stream(images=1, sampler="class_aware"), 0, epoch) for epoch in range(9))
    drawn = {image for order in orders for image, _ in order}
    assert drawn == set(range(len(own))), "class-aware sampling draws images of the confused categories too"
    document = json.loads((folder / "set" / "instances.json").read_text())
    for index, image in enumerate(own.image_ids):
        target = own.load(index)[1]
        boxes = [a for a in document["annotations"] if a["image_id"] == image and a["category_id"] in (2, 4)]
        assert sorted(target.labels.tolist()) == sorted(a["category_id"] // 2 for a in boxes if not a["iscrowd"])
        assert len(target.ignore_boxes) == sum(a["iscrowd"] for a in boxes)
    with pytest.raises(InputError, match="exists already"):
        zoo_experts(data=data, output=tmp_path / "e", categories="2+4", run=folder / "base")


def test_the_expert_trains_and_predicts_its_own_categories(place, tmp_path, capsys):
    folder, data = place
    zoo_experts(data=data, output=tmp_path / "e", categories="2+4", run=folder / "base", ratio=1.0)
    spec = (tmp_path / "e" / "data.txt").read_text().strip()
    model = small()
    train(replace(model, infer=replace(model.infer, gate=True, score=0.0)), open_data(spec), tmp_path / "expert")
    whole = open_data(data)
    identity = read_json(tmp_path / "expert" / "config.json", Identity)
    same, (note,) = with_categories_of(identity, whole, "expert")
    assert same.category_ids == (2, 4)
    assert "expert knows 2 of the 5 categories" in note
    capsys.readouterr()
    predict(tmp_path / "expert", data=data, output=tmp_path / "e.parquet", settings=("infer.gate=false",))
    table = read_table(tmp_path / "e.parquet")
    assert set(table.category_id.tolist()) == {2, 4}
    predict(folder / "base", data=data, output=tmp_path / "b.parquet", settings=("infer.score=0",))
    base = read_table(tmp_path / "b.parquet").metadata
    assert table.metadata.categories == base.categories, "the table goes with the base's"
    # its AP is that of its own two categories
    figures = json.loads((tmp_path / "expert" / "figures" / "instances.bbox.json").read_text())
    assert [row["category_id"] for row in figures["categories"]] == [2, 4]


def test_by_ground_truth_of_a_table(place, tmp_path):
    folder, data = place
    path = folder / "set" / "instances.json"
    truth = read_coco(path)
    ids = truth.category_id[truth.category]
    # category 5 is taken for 1, everything else is found
    table = DetectionTable.from_arrays(
        image_id=truth.image_id[truth.image],
        category_id=np.where(ids == 5, 1, ids).astype(np.int32),
        score=np.ones(len(ids)),
        xywh=truth.xywh,
    )
    write_table(table, tmp_path / "t.parquet")
    options = {"table": tmp_path / "t.parquet", "ground_truth": path, "data": data}
    zoo_experts(output=tmp_path / "a", by="confusion", categories="1", threshold=0.01, **options)
    assert ids_in(tmp_path / "a" / "confused.txt") == [5]
    zoo_experts(output=tmp_path / "b", by="confusion", worst=1, threshold=0.01, **options)
    assert ids_in(tmp_path / "b" / "positive.txt") == [5]
    assert ids_in(tmp_path / "b" / "confused.txt") == []
    (tmp_path / "ap.json").write_text(
        json.dumps(
            [
                {
                    "per_category": [
                        {"category_id": 1, "AP": 0.5},
                        {"category_id": 3, "AP": 0.25},
                        {"category_id": 2, "AP": None},
                    ]
                }
            ]
        )
    )
    tree = {
        "LabelName": "all",
        "Subcategory": [
            {"LabelName": "kind", "Subcategory": [{"LabelName": name} for name in truth.category_name[1:4]]}
        ],
    }
    (tmp_path / "tree.json").write_text(json.dumps(tree))
    files = OpenImagesFiles(hierarchy=tmp_path / "tree.json")
    zoo_experts(
        output=tmp_path / "c", by="hierarchy", worst=1, evaluation=tmp_path / "ap.json", data=data, open_images=files
    )
    assert ids_in(tmp_path / "c" / "positive.txt") == [3]
    assert ids_in(tmp_path / "c" / "confused.txt") == [2, 4]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "one of --worst and --categories"),
        ({"worst": 1, "categories": "1"}, "one of --worst and --categories"),
        ({"worst": 1}, "there is no AP"),
        ({"categories": "77"}, "has no category '77'"),
        ({"categories": "1"}, "by cosine.*--run"),
        ({"categories": "1", "by": "hierarchy"}, "by hierarchy.*--hierarchy"),
        ({"categories": "1", "by": "confusion"}, "by confusion.*--table"),
        ({"categories": "1", "ratio": -1.0}, "ratio"),
        ({"categories": "1", "data": "scenes:4,64,0"}, "cannot be listed"),
        ({"categories": "1", "data": "coco:a.json,b,only=1+2"}, "knows some categories only"),
    ],
)
def test_what_is_missing_is_said(place, tmp_path, options, problem):
    with pytest.raises(InputError, match=problem):
        zoo_experts(**{"data": place[1], "output": tmp_path / "e"} | options)
    assert not (tmp_path / "e").exists()


def test_a_file_that_is_no_evaluation(place, tmp_path):
    (tmp_path / "x.json").write_text('[{"AP": 1}, {"AP": 2}]')
    with pytest.raises(InputError, match="expected what quorum evaluate"):
        zoo_experts(data=place[1], output=tmp_path / "e", worst=1, evaluation=tmp_path / "x.json")


# a training on other data


def test_a_training_on_other_categories_is_an_expert_by_a_map_of_names(place, tmp_path, capsys):
    folder, data = place
    truth = read_coco(folder / "set" / "instances.json")
    run = tmp_path / "other"
    shutil.copytree(folder / "base", run)
    identity = read_json(run / "config.json", Identity)
    names = ("Apple", truth.category_name[3].upper(), "Pear", truth.category_name[0], "Quince")
    write_json(
        msgspec.structs.replace(identity, category_ids=(7, 8, 9, 12, 15), category_names=names), run / "config.json"
    )
    settings = ("infer.score=0",)
    predict(folder / "base", data=data, output=tmp_path / "plain.parquet", settings=settings)
    plain = read_table(tmp_path / "plain.parquet")

    def found(**options):
        capsys.readouterr()
        predict(run, data=data, output=tmp_path / "t.parquet", settings=settings, **options)
        table = read_table(tmp_path / "t.parquet")
        return table, capsys.readouterr().err

    def rows(table, categories):
        some = np.isin(table.category_id, list(categories))
        columns = (table.image_id, table.score, table.column("x"))
        renamed = [categories[c] for c in table.category_id[some].tolist()]
        return sorted(zip(*(np.asarray(column)[some].tolist() for column in columns), renamed, strict=True))

    # by names: what it calls 8 is 4 of the data, 12 is 1
    table, said = found(unknown_categories="drop")
    assert set(table.category_id.tolist()) == {1, 4}
    assert rows(table, {1: 1, 4: 4}) == rows(plain, {2: 4, 4: 1})
    assert "dropped: what it finds of 3 categories: Apple, Pear, Quince" in said
    figures = json.loads((run / "figures" / "instances.bbox.json").read_text())
    assert [row["category_id"] for row in figures["categories"]] == [1, 4]
    # by a map, two of its categories being one
    label_map = f"Pear=2,15={truth.category_name[1]},Apple=5"
    table, _ = found(label_map=label_map, unknown_categories="drop")
    assert rows(table, {2: 2, 5: 5}) == rows(plain, {3: 2, 5: 2, 1: 5})
    for options, problem in (
        ({}, "5 categories with other ids|other categories"),
        ({"label_map": label_map}, "2 of its 5 categories are not in the label map"),
        ({"label_map": "Plum=2", "unknown_categories": "drop"}, "5 of its 5 categories"),
    ):
        with pytest.raises(InputError, match=problem):
            found(**options)

"""What is done with figures once they are there, and what is refused before."""

import io
import json
import math
import pickle

import numpy as np
import pytest
from rich.console import Console

from evaluation import Coco, evaluate, prepare
from fusion.errors import InputError
from fusion.table import DetectionTable, Metadata
from tests.evaluation.cases import arrays, ground_truth, random_case


@pytest.fixture(scope="module")
def case():
    dataset, results = random_case(21, categories=4, results=300)
    return dataset, results, prepare(ground_truth(dataset)).evaluate_arrays(**arrays(results))


def test_per_category(case):
    dataset, results, result = case
    precision = result.precision
    for k, row in enumerate(result.per_category):
        mine = [g for g in dataset["annotations"] if g["category_id"] == row.category_id]
        assert row.truths == len(mine)
        assert row.detections == sum(d["category_id"] == row.category_id for d in results)
        counted = any(not g["iscrowd"] and g["area"] <= 1e10 for g in mine)
        for value, area, thresholds in (
            (row.AP, 0, slice(None)),
            (row.AP50, 0, [0]),
            (row.AP75, 0, [5]),
            (row.APs, 1, slice(None)),
            (row.APm, 2, slice(None)),
            (row.APl, 3, slice(None)),
        ):
            entries = precision[thresholds, :, k, area, -1]
            assert math.isnan(value) if (entries == -1).all() else value == pytest.approx(entries.mean(), rel=1e-12)
        assert math.isnan(row.AP) == (not counted)
    np.testing.assert_array_equal(result.average_precision_per_category, [row.AP for row in result.per_category])
    assert np.nanmean(result.average_precision_per_category) == pytest.approx(result.AP, rel=1e-12)
    assert any(math.isnan(row.AP) for row in result.per_category)


def test_to_dict_is_json_at_full_precision(case):
    *_, result = case
    figures = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert {name: figures[name] for name in result.stats} == result.stats
    assert list(result.stats)[6:9] == ["AR1", "AR10", "AR100"]
    assert figures["notes"] == list(result.notes)
    assert [row["AP"] for row in figures["per_category"]] == [
        None if math.isnan(r.AP) else r.AP for r in result.per_category
    ]


def test_to_frame(case):
    *_, result = case
    frame = result.to_frame()
    assert frame.index.tolist() == result.category_ids.tolist()
    assert frame["detections"].tolist() == result.detections.tolist()


def test_to_table(case):
    *_, result = case
    for per_category in (False, True):
        out = io.StringIO()
        Console(file=out, width=200).print(result.to_table(per_category=per_category).to_rich())
        assert ("category 2" if per_category else f"{result.AP:.4f}") in out.getvalue()


def test_pickles(case):
    *_, result = case
    again = pickle.loads(pickle.dumps(result))
    assert again.stats == result.stats
    np.testing.assert_array_equal(again.scores, result.scores)


def test_names_of_recalls_follow_the_caps():
    dataset, results = random_case(22)
    result = evaluate(DetectionTable.from_arrays(**arrays(results)), ground_truth(dataset), Coco(max_dets=(5, 300)))
    assert list(result.AR) == [5, 300]
    assert (result.AR1, result.AR10, result.AR100) == (-1, -1, -1)
    assert "AR300" in result.stats


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iou_type": "keypoints"}, "option iou_type"),
        ({"max_dets": ()}, "option max_dets"),
        ({"max_dets": (0, 10)}, "option max_dets"),
        ({"max_dets": (10, 10)}, "option max_dets"),
        ({"max_dets": (1.5,)}, "option max_dets"),
        ({"iou_thresholds": ()}, "option iou_thresholds"),
        ({"iou_thresholds": (0.0, 0.5)}, "option iou_thresholds"),
        ({"iou_thresholds": (0.5, 1.5)}, "option iou_thresholds"),
        ({"iou_thresholds": (0.75, 0.5)}, "ascending"),
        ({"iou_thresholds": (float("nan"),)}, "option iou_thresholds"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        Coco(**options)


def test_unknown_images():
    dataset, results = random_case(23)
    prepared = prepare(ground_truth(dataset))
    results[5]["image_id"] = 77
    with pytest.raises(InputError, match=r"1 of its images are not in the ground truth .*77.*Drop"):
        prepared.evaluate_arrays(**arrays(results))
    for n, row in enumerate(results):
        row["image_id"] = n
    for columns in (arrays(results), {**arrays(results), "image_id": np.array([f"i{n}" for n in range(len(results))])}):
        with pytest.raises(InputError, match=r"150 of its images .*no image in common, it looks like another data set"):
            prepared.evaluate_arrays(**columns)


def test_normalized_boxes_are_refused():
    dataset, results = random_case(24)
    table = DetectionTable.from_arrays(**arrays(results), metadata=Metadata(unit="normalized", member="m"))
    with pytest.raises(InputError, match="m: its boxes are normalized"):
        evaluate(table, ground_truth(dataset))


def test_columns_of_different_lengths():
    dataset, results = random_case(25)
    with pytest.raises(InputError, match="different lengths"):
        prepare(ground_truth(dataset)).evaluate_arrays(**{**arrays(results), "score": [1.0]})


def test_unknown_categories_are_dropped_and_noted():
    dataset, results = random_case(26)
    strange = sum(row["category_id"] == 999 for row in results)
    assert strange
    result = prepare(ground_truth(dataset)).evaluate_arrays(**arrays(results))
    assert any(note.startswith(f"{strange} detections are of categories") for note in result.notes)
    for row in results:
        row["category_id"] = 2**31 - 1 if row["category_id"] == 999 else row["category_id"]
    assert prepare(ground_truth(dataset)).evaluate_arrays(**arrays(results)).stats == result.stats


def test_far_apart_category_ids():
    dataset, results = random_case(27)
    first = prepare(ground_truth(dataset)).evaluate_arrays(**arrays(results))
    for row in (*dataset["annotations"], *results):
        row["category_id"] *= 10_000_000
    for row in dataset["categories"]:
        row["id"] *= 10_000_000
    for row in results:
        row["category_id"] = min(row["category_id"], 2**31 - 1)
    assert prepare(ground_truth(dataset)).evaluate_arrays(**arrays(results)).stats == first.stats


def test_data_set_without_categories_or_images():
    dataset = {"images": [], "categories": [], "annotations": []}
    result = prepare(ground_truth(dataset)).evaluate_arrays(**arrays([]))
    assert set(result.stats.values()) == {-1.0}
    assert result.per_category == ()
    assert result.precision.shape == (10, 101, 0, 4, 3)


def test_flat_dictionaries_for_experiment_trackers(case):
    *_, result = case
    assert result.flat() == {name: value for name, value in result.stats.items() if value >= 0}
    assert result.flat("val/bbox/") == {f"val/bbox/{name}": value for name, value in result.flat().items()}
    flat = result.flat(prefix="val", figures=["AP", "F1@0.3", "threshold"], per_category=True)
    assert list(flat)[:3] == ["val/AP", "val/F1_at_0.3", "val/threshold"]
    known = [row for row in result.per_category if not math.isnan(row.AP)]
    assert 0 < len(known) < len(result.per_category)
    assert {f"val/AP/{row.name}": row.AP for row in known}.items() <= flat.items()
    assert not [key for key in flat if key.startswith("val/threshold/")]
    assert all(type(value) is float and not math.isnan(value) for value in flat.values())
    with pytest.raises(InputError, match="got 'APx'"):
        result.flat(figures=["APx"])


def test_keys_of_categories_with_odd_and_equal_names():
    dataset, results = random_case(5, categories=5, truths=80)
    for category, name in zip(dataset["categories"], ("a/b: c", "cat", "cat", "", "été (2)"), strict=True):
        category["name"] = name
    ids = {category["id"]: category["name"] for category in dataset["categories"]}
    result = prepare(ground_truth(dataset)).evaluate_arrays(**arrays(results))
    names = {row.category_id: row.AP for row in result.per_category if not math.isnan(row.AP)}
    wanted = {"a/b: c": "a_b_ c", "": "_", "été (2)": "été _2_"}
    expected = {f"AP/{wanted.get(ids[i], f'cat_{i}')}": value for i, value in names.items()}
    flat = result.flat(figures=["AP"], per_category=True)
    assert {key: value for key, value in flat.items() if key != "AP"} == expected
    # a name that another gets with its id
    cats = [category["id"] for category in dataset["categories"] if category["name"] == "cat"]
    dataset["categories"][0]["name"] = f"cat_{cats[0]}"
    keys = prepare(ground_truth(dataset)).evaluate_arrays(**arrays(results)).flat(per_category=True, figures=["AP"])
    assert len(keys) == len(flat)

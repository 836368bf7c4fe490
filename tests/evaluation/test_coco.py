"""The evaluation against pycocotools and against the plain oracle: every entry of every array, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import Coco, evaluate, prepare
from fusion.table import DetectionTable, Metadata
from tests.evaluation.cases import arrays, ground_truth, official, random_case
from tests.oracles import coco as oracle

THRESHOLDS = np.linspace(0.5, 0.95, 10)


def check(result, precision, recall, scores, stats=None):
    np.testing.assert_array_equal(result.precision, precision)
    np.testing.assert_array_equal(result.recall, recall)
    np.testing.assert_array_equal(result.scores, scores)
    if stats is not None:
        assert list(result.stats.values()) == list(stats)


def check_official(dataset, results, *, mask_areas=False, **options):
    protocol = Coco(
        iou_type=options.get("iou_type", "bbox"),
        max_dets=options.get("caps", (1, 10, 100)),
        use_cats=options.get("use_cats", True),
        iou_thresholds=options.get("thresholds"),
    )
    result = prepare(ground_truth(dataset), protocol).evaluate_arrays(**arrays(results), mask_areas=mask_areas)
    run = official(dataset, results, **options)
    caps = options.get("caps", (1, 10, 100))
    plain = options.get("thresholds") is None and 100 in caps and len(caps) == 3
    check(result, run.eval["precision"], run.eval["recall"], run.eval["scores"], run.stats if plain else None)
    return result


@pytest.mark.parametrize("seed", range(12))
def test_boxes_equal_pycocotools(seed):
    # scale moves the areas over the bounds of the area ranges
    check_official(*random_case(seed, scale=(1.0, 3.0, 9.7)[seed % 3]))


@pytest.mark.parametrize("seed", range(8))
def test_masks_equal_pycocotools(seed):
    dataset, results = random_case(100 + seed, masks=True)
    check_official(dataset, results, iou_type="segm")
    bare = [{name: value for name, value in row.items() if name != "bbox"} for row in results]
    check_official(dataset, bare, iou_type="segm", mask_areas=True)


def test_results_without_masks_are_drawn_as_boxes():
    dataset, results = random_case(7, masks=True)
    for row in results[::3]:
        del row["segmentation"]
    result = check_official(dataset, results, iou_type="segm")
    assert any("50 detections have no mask" in note for note in result.notes)
    for row in results:
        row.pop("segmentation", None)
    check_official(dataset, results, iou_type="segm")


@pytest.mark.parametrize("seed", range(4))
def test_more_than_100_detections_in_a_cell(seed):
    check_official(*random_case(200 + seed, images=2, categories=2, truths=60, results=900))


@pytest.mark.parametrize("caps", [(1, 10, 100), (2, 3, 5), (100, 1, 7), (1, 10, 300), (100,), (1, 2, 3, 100)])
def test_other_caps(caps):
    check_official(*random_case(31, images=2, categories=2, results=400), caps=caps)


def test_caps_without_100_give_the_figures_of_the_largest():
    dataset, results = random_case(32, results=400, images=2)
    result = check_official(dataset, results, caps=(1, 5, 20))
    run = official(dataset, results, caps=(1, 5, 20))
    assert run.stats[0] == -1
    assert list(result.stats.values())[1:] == list(run.stats)[1:]
    assert np.mean(result.precision[:, :, :, 0, 2][result.precision[:, :, :, 0, 2] > -1]) == result.AP
    assert any("20 detections" in note for note in result.notes)
    assert list(result.stats) == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR5", "AR20", "ARs", "ARm", "ARl"]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_pooled_categories(seed, iou_type):
    dataset, results = random_case(300 + seed, masks=iou_type == "segm", results=400, images=2)
    check_official(dataset, results, iou_type=iou_type, use_cats=False)


@pytest.mark.parametrize("thresholds", [(0.3, 0.5), (0.75,), (0.5, 1.0), tuple(np.linspace(0.05, 0.95, 37))])
def test_other_thresholds(thresholds):
    check_official(*random_case(41), thresholds=thresholds)


@pytest.mark.parametrize("seed", range(6))
def test_annotation_id_zero(seed):
    dataset, results = random_case(400 + seed, truths=8, first_id=0)
    result = check_official(dataset, results)
    assert any("id 0" in note for note in result.notes)
    moved = {**dataset, "annotations": [{**row, "id": row["id"] + 1} for row in dataset["annotations"]]}
    corrected = prepare(ground_truth(dataset), Coco(match_id_zero=True)).evaluate_arrays(**arrays(results))
    run = official(moved, results)
    check(corrected, run.eval["precision"], run.eval["recall"], run.eval["scores"], run.stats)
    assert corrected.notes == tuple(note for note in result.notes if "id 0" not in note)


@pytest.mark.parametrize(
    "size",
    [{"truths": 0}, {"truths": 1, "results": 1}, {"images": 1, "categories": 1}, {"results": 1}, {"categories": 40}],
)
def test_small_and_empty(size):
    check_official(*random_case(5, **size))


def test_no_detections():
    dataset, _ = random_case(6)
    result = prepare(ground_truth(dataset)).evaluate_arrays(**arrays([]))
    assert set(result.stats.values()) == {0.0}
    check(result, *oracle.evaluate(dataset, [], iou=oracle.box_iou, thresholds=THRESHOLDS, caps=(1, 10, 100)))


def test_threshold_of_one():
    """Threshold 1 means 1 - 1e-10: a box that is off by less still matches."""
    dataset, _ = random_case(8, truths=6)
    results = []
    for row, off in zip(dataset["annotations"], (0, 1e-11, 9e-11, 1.1e-10, 1e-9, 1e-3), strict=True):
        row["iscrowd"], row["area"], row["bbox"] = 0, 500.0, [0.0, 0.0, 1.0, 40.0]
        row["image_id"], row["category_id"] = dataset["images"][0]["id"], dataset["categories"][0]["id"]
        results.append({**row, "score": 1 - off, "bbox": [0.0, 0.0, 1.0 - off, 40.0]})
    result = check_official(dataset, results, thresholds=(0.5, 1.0))
    assert result.recall[1, :, 0, 2].max() == 3 / 6


box = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 5), st.integers(1, 5)).map(
    lambda values: [float(value) * 8 for value in values]
)
truth_row = st.tuples(st.integers(0, 1), st.integers(0, 1), box, st.sampled_from([64.0, 1024.0, 9216.0]), st.booleans())
result_row = st.tuples(st.integers(0, 1), st.integers(0, 2), box, st.sampled_from([0.1, 0.5, 0.5, 0.9]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(truth_row, max_size=8), st.lists(result_row, max_size=25), st.booleans(), st.integers(0, 1), st.booleans()
)
def test_boxes_equal_oracle(truths, found, use_cats, first_id, match_id_zero):
    dataset = {
        "images": [{"id": i, "height": 90, "width": 90} for i in (0, 1)],
        "categories": [{"id": k} for k in (0, 1)],
        "annotations": [
            {"id": n + first_id, "image_id": i, "category_id": k, "bbox": b, "area": area, "iscrowd": int(crowd)}
            for n, (i, k, b, area, crowd) in enumerate(truths)
        ],
    }
    results = [
        {"image_id": i, "category_id": k, "bbox": b, "score": score, "area": b[2] * b[3]} for i, k, b, score in found
    ]
    caps, thresholds = (1, 3), (0.25, 0.5, 0.9)
    protocol = Coco(max_dets=caps, iou_thresholds=thresholds, use_cats=use_cats, match_id_zero=match_id_zero)
    result = prepare(ground_truth(dataset), protocol).evaluate_arrays(**arrays(results))
    options = {"thresholds": thresholds, "caps": caps, "use_cats": use_cats, "match_id_zero": match_id_zero}
    check(result, *oracle.evaluate(dataset, results, iou=oracle.box_iou, **options))


@pytest.mark.parametrize("seed", range(4))
def test_masks_equal_oracle(seed):
    dataset, results = random_case(500 + seed, masks=True, images=2, truths=12, results=40)
    for row in results:
        row["area"] = row["bbox"][2] * row["bbox"][3]
    result = prepare(ground_truth(dataset), Coco(iou_type="segm")).evaluate_arrays(**arrays(results))
    check(result, *oracle.evaluate(dataset, results, iou=oracle.mask_iou, thresholds=THRESHOLDS, caps=(1, 10, 100)))
    assert any("another size" in note for note in result.notes) == any(
        row["bitmap"].shape != (40, 50) and any(
            (g["image_id"], g["category_id"]) == (row["image_id"], row["category_id"]) for g in dataset["annotations"]
        )
        for row in results
    )  # fmt: skip


def test_table_equals_arrays():
    dataset, results = random_case(11, masks=True)
    columns = arrays(results)
    truth = ground_truth(dataset)
    table = DetectionTable.from_arrays(**columns)
    for iou_type in ("bbox", "segm"):
        run = official(dataset, results, iou_type=iou_type)
        result = evaluate(table, truth, Coco(iou_type=iou_type))
        check(result, run.eval["precision"], run.eval["recall"], run.eval["scores"], run.stats)
    bare = [{name: value for name, value in row.items() if name != "bbox"} for row in results]
    run = official(dataset, bare, iou_type="segm")
    from_masks = DetectionTable.from_arrays(**columns, metadata=Metadata(boxes="from_masks"))
    check(
        prepare(truth, Coco(iou_type="segm")).evaluate(from_masks),
        run.eval["precision"], run.eval["recall"], run.eval["scores"], run.stats,
    )  # fmt: skip


def test_table_with_string_ids_and_float32():
    dataset, results = random_case(12)
    for row in (*dataset["annotations"], *results):
        row["image_id"] = f"image {row['image_id']}"
    for image in dataset["images"]:
        image["id"] = f"image {image['id']}"
    for row in results:
        row["score"] = float(np.float32(row["score"]))
    columns = arrays([{**row, "image_id": 0} for row in results])
    columns["image_id"] = np.array([row["image_id"] for row in results])
    columns["score"] = columns["score"].astype(np.float32)
    columns["xywh"] = columns["xywh"].astype(np.float32)
    run = official(dataset, results)
    result = evaluate(DetectionTable.from_arrays(**columns), ground_truth(dataset))
    check(result, run.eval["precision"], run.eval["recall"], run.eval["scores"], run.stats)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_any_number_of_threads(monkeypatch, iou_type):
    from evaluation import matches, pairs

    # small pieces, so that there is something to share out
    for module in (matches, pairs):
        cut = module.chunks
        monkeypatch.setattr(module, "chunks", lambda start, size=0, cut=cut: cut(start, 40))
    dataset, results = random_case(13, images=20, categories=8, results=800, truths=200, masks=iou_type == "segm")
    seen = []
    for count in ("1", "2", "7"):
        monkeypatch.setenv("QUORUM_THREADS", count)
        seen.append(check_official(dataset, results, iou_type=iou_type).to_dict())
    assert seen[0] == seen[1] == seen[2]


def test_input_is_left_alone():
    dataset, results = random_case(14, masks=True)
    columns = arrays(results)
    before = {name: column.copy() for name, column in columns.items() if name != "mask"}
    for column in before:
        columns[column].setflags(write=False)
    prepare(ground_truth(dataset), Coco(iou_type="segm")).evaluate_arrays(**columns)
    for name, column in before.items():
        np.testing.assert_array_equal(columns[name], column)

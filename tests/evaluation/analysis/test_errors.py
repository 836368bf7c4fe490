"""TIDE's errors: equal to the public package tidecv and to a plain version of its rules."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import Lvis, prepare
from evaluation.analysis.errors import MAIN_ERRORS, analyze_errors
from fusion.errors import InputError
from tests.evaluation.analysis.samples import case, table_of
from tests.evaluation.cases import ground_truth
from tests.evaluation.test_lvis import federated_case, lvis_truth
from tests.oracles.analysis import tide
from tests.oracles.tide import tidecv_errors

SIZES = {"images": st.integers(1, 5), "categories": st.integers(1, 5), "truths": st.integers(0, 50)}


@pytest.fixture(scope="module", autouse=True)
def tidecv():
    """True where the package can be imported; its own warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import tidecv
        except ImportError:
            return False
    return bool(tidecv)


def check(errors, want, scale):
    ap, counts, costs = want
    assert errors.counts == counts
    assert pytest.approx(ap / scale, abs=1e-12) == errors.AP
    assert errors.costs == pytest.approx({name: cost / scale for name, cost in costs.items()}, abs=1e-12)


@given(seed=st.integers(0, 10**6), masks=st.booleans(), results=st.integers(1, 250), **SIZES)
@settings(max_examples=40, deadline=None)
def test_equal_to_tidecv_and_the_plain_version(tidecv, seed, masks, **options):
    dataset, results, prepared, table, iou = case(seed, masks=masks, lowest=-0.5, **options)
    errors = analyze_errors(table, prepared)
    check(errors, tide(dataset, results, iou), 1)
    if tidecv:
        for row in results + dataset["annotations"]:
            row.pop("bitmap", None)
        try:
            want = tidecv_errors(dataset, results, "segm" if masks else "bbox")
        except ZeroDivisionError:
            return  # its answer where no category has a detection or an object
        check(errors, want, 100)


@pytest.mark.parametrize(("iou", "background", "cap"), [(0.7, 0.3, 10), (0.5, 0.1, 3), (0.75, 0.5, 100)])
def test_options(tidecv, iou, background, cap):
    dataset, results, prepared, table, overlap = case(5, lowest=-0.5, images=2, results=200)
    errors = analyze_errors(table, prepared, iou=iou, background=background, max_dets=cap)
    known = {category["id"] for category in dataset["categories"]}
    results = [row for row in results if row["category_id"] in known]
    check(errors, tide(dataset, results, overlap, iou, background, cap), 1)
    if tidecv:
        check(errors, tidecv_errors(dataset, results, max_dets=cap, iou=iou, background=background), 100)


def test_every_kind_occurs():
    total = dict.fromkeys(MAIN_ERRORS, 0)
    gained = dict.fromkeys([*MAIN_ERRORS, "FalsePos", "FalseNeg"], 0.0)
    for seed in range(40):
        errors = analyze_errors(*case(seed)[3:1:-1])
        for name, count in errors.counts.items():
            total[name] += count
        for name, cost in errors.costs.items():
            gained[name] += cost
    assert min(total.values()) > 40, total
    assert min(gained.values()) > 0, gained


def single(results, annotations, categories=(1,)):
    dataset = {
        "images": [{"id": 1, "height": 40, "width": 50}, {"id": 2, "height": 40, "width": 50}],
        "categories": [{"id": k, "name": str(k)} for k in categories],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "area": box[2] * box[3], "iscrowd": 0, "bbox": box} | extra
            for n, (box, extra) in enumerate(annotations, 1)
        ],
    }
    results = [{"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [0, 0, 10, 10]} | row for row in results]
    return dataset, results, analyze_errors(table_of(results), prepare(ground_truth(dataset)))


BOX = [0, 0, 10, 10]


def test_one_error_of_each_kind():
    boxes = [(BOX, {}), ([20, 20, 10, 10], {"category_id": 2})]
    _, _, none = single([{}, {"category_id": 2, "bbox": [20, 20, 10, 10]}], boxes, (1, 2))
    assert sum(none.counts.values()) == 0
    assert none.AP == 1
    right = {"category_id": 2, "bbox": [20, 20, 10, 10]}
    for row, kinds in (
        ({"category_id": 2}, {"Cls"}),
        ({"bbox": [0, 0, 10, 4]}, {"Loc"}),
        ({"category_id": 2, "bbox": [0, 0, 10, 4]}, {"Both", "Miss"}),
        ({"bbox": [35, 0, 5, 5]}, {"Bkg", "Miss"}),
    ):
        _, _, errors = single([row, right], boxes, (1, 2))
        assert {name for name, count in errors.counts.items() if count} == kinds
    _, _, errors = single([{}, {"score": 0.4}], [(BOX, {})])
    assert errors.counts["Dupe"] == 1


def test_unlike_tidecv_unknown_categories_are_dropped(tidecv):
    _, _, errors = single([{}, {"category_id": 9, "score": 0.9}], [(BOX, {})])
    assert errors.AP == 1
    assert sum(errors.counts.values()) == 0


def test_unlike_tidecv_low_scores_can_be_fixed(tidecv):
    dataset, results, errors = single([{"score": -2.0, "bbox": [0, 0, 10, 4]}], [(BOX, {})])
    assert errors.costs["Loc"] == 1
    if tidecv:
        with pytest.raises(KeyError):
            tidecv_errors(dataset, results)


def test_unlike_coco_a_category_without_objects_counts(tidecv):
    dataset, results, errors = single([{}, {"category_id": 2}], [(BOX, {})], (1, 2))
    assert errors.AP == 0.5
    assert pytest.approx(1) == prepare(ground_truth(dataset)).evaluate(table_of(results)).AP50
    if tidecv:
        check(errors, tidecv_errors(dataset, results), 100)


def test_ignored_detections_are_counted_as_in_tidecv(tidecv):
    dataset, results, errors = single([{}, {"bbox": [30, 30, 5, 5]}], [(BOX, {"iscrowd": 1}), ([30, 30, 5, 5], {})])
    assert errors.counts["Bkg"] == 1
    if tidecv:
        check(errors, tidecv_errors(dataset, results), 100)


def test_nothing_found_and_nothing_there():
    _, _, prepared, _, _ = case(1)
    empty = table_of([])
    errors = analyze_errors(empty, prepared)
    objects = int(prepared.positives[:, 0].sum())
    assert errors.AP == 0
    assert errors.counts["Miss"] >= objects > 0
    _, _, nothing, table, _ = case(1, truths=0)
    errors = analyze_errors(table, nothing)
    assert errors.AP == 0
    assert errors.counts["Bkg"] > 0
    assert analyze_errors(empty, nothing).AP == 0


def test_frames():
    _, _, prepared, table, _ = case(3)
    errors = analyze_errors(table, prepared)
    frame = errors.to_frame()
    assert list(frame["error"]) == [*MAIN_ERRORS, "FalsePos", "FalseNeg"]
    assert dict(zip(frame["error"], frame["cost"], strict=True)) == errors.costs
    per_category = errors.to_category_frame()
    assert {name: int(per_category[name].sum()) for name in MAIN_ERRORS} == errors.counts
    assert np.nanmean(per_category["AP"]) == pytest.approx(errors.AP)


@pytest.mark.parametrize("seed", range(5))
def test_lvis_leaves_out_what_is_not_judged(seed):
    dataset, results = federated_case(seed)
    prepared = prepare(lvis_truth(dataset), Lvis())
    errors = analyze_errors(table_of(results), prepared)
    paired = prepared.paired(table_of(results))
    assert sum(errors.counts[name] for name in MAIN_ERRORS if name != "Miss") <= (paired.found.category >= 0).sum()


@pytest.mark.parametrize(
    "options", [{"iou": 1.5}, {"background": 0.0}, {"background": 0.5}, {"background": 0.6}, {"max_dets": 0}]
)
def test_options_out_of_range(options):
    _, _, prepared, table, _ = case(1)
    with pytest.raises(InputError, match="option"):
        analyze_errors(table, prepared, **options)

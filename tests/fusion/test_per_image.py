import copy
import inspect
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import per_image
from fusion.errors import InputError

FUNCTIONS = ("weighted_boxes_fusion", "non_maximum_weighted", "nms", "soft_nms", "nms_method")
FUSING = FUNCTIONS[:2]


def image(seed, size, models, labels=5):
    """Boxes, scores and labels of one image, normalised, without ties; some models may be empty."""
    rng = np.random.default_rng(seed)
    places = rng.random((max(size // 5, 1), 2)) * 0.6 + 0.05
    low = places[rng.integers(len(places), size=size)] + rng.random((size, 2)) * 0.05
    boxes = np.hstack([low, low + 0.1 + 0.15 * rng.random((size, 2))])
    score, label, model = rng.random(size), rng.integers(labels, size=size), rng.integers(models, size=size)
    return tuple([column[model == m] for m in range(models)] for column in (boxes, score, label))


def peer(name, *arguments, **options):
    package = pytest.importorskip("ensemble_boxes", reason="the public package is an optional peer")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(package, name)(*copy.deepcopy(arguments), **options)


def same(ours, theirs):
    for one, two in zip(ours, theirs, strict=True):
        assert one.dtype == two.dtype
        assert np.array_equal(one, two)


CASES = {"seed": st.integers(0, 2**32), "size": st.integers(1, 150), "models": st.sampled_from([1, 2, 5, 12])}
IMAGES = st.fixed_dictionaries(CASES)


@settings(max_examples=60, deadline=None)
@given(
    IMAGES,
    st.booleans(),
    st.sampled_from(["avg", "max", "box_and_model_avg", "absent_model_aware_avg"]),
    st.sampled_from([0.0, 0.3]),
    st.booleans(),
)
def test_wbf_equals_the_public_package(case, weighted, conf_type, skip, overflow):
    lists = image(**case)
    options = {"conf_type": conf_type, "skip_box_thr": skip, "allows_overflow": overflow}
    options["weights"] = list(range(1, case["models"] + 1)) if weighted else None
    same(per_image.weighted_boxes_fusion(*lists, **options), peer("weighted_boxes_fusion", *lists, **options))


def test_avg_with_weights_can_exceed_one_as_in_the_public_package():
    lists = [[[0.1, 0.1, 0.2, 0.2]] * 2, [[0.3, 0.3, 0.4, 0.4]]], [[1.0, 1.0], [0.5]], [[0, 0], [0]]
    ours = per_image.weighted_boxes_fusion(*lists, weights=[2, 1])
    assert ours[1].tolist() == pytest.approx([4 / 3, 1 / 6], rel=1e-6)
    same(ours, peer("weighted_boxes_fusion", *lists, weights=[2, 1]))
    bounded = per_image.weighted_boxes_fusion(*lists, weights=[2, 1], conf_type="box_and_model_avg")
    assert bounded[1].tolist() == pytest.approx([2 / 3, 1 / 6], rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(IMAGES, st.lists(st.floats(0.1, 10), min_size=12, max_size=12))
def test_the_bounded_variant_is_bounded(case, weights):
    lists = image(**case)
    options = {"weights": weights[: case["models"]], "conf_type": "box_and_model_avg"}
    _, scores, _ = per_image.weighted_boxes_fusion(*lists, **options)
    assert scores.max() <= max(score.max(initial=0) for score in lists[1]) * (1 + 1e-6)


def test_score_0_keeps_its_box_where_the_public_package_has_nan():
    lists = [[[0.1, 0.1, 0.2, 0.2]]], [[0.0]], [[1]]
    for name in FUSING:
        boxes, scores, labels = getattr(per_image, name)(*lists)
        np.testing.assert_allclose(boxes, lists[0][0], rtol=1e-6)
        assert (scores.tolist(), labels.tolist()) == ([0.0], [1.0])
    assert np.isnan(peer("non_maximum_weighted", *lists)[0]).any()


@settings(max_examples=40, deadline=None)
@given(IMAGES, st.booleans(), st.sampled_from([0.0, 0.3]))
def test_nmw_equals_the_public_package(case, weighted, skip):
    lists = image(**case)
    options = {"skip_box_thr": skip, "weights": list(range(1, case["models"] + 1)) if weighted else None}
    ours, theirs = per_image.non_maximum_weighted(*lists, **options), peer("non_maximum_weighted", *lists, **options)
    if len(np.unique(theirs[1])) == len(theirs[1]):  # float32 scores may tie where the input does not
        same(ours, theirs)


@settings(max_examples=40, deadline=None)
@given(IMAGES, st.booleans())
def test_nms_equals_the_public_package(case, weighted):
    lists = image(**case)
    weights = [m + 0.5 for m in range(case["models"])] if weighted else None
    same(per_image.nms(*lists, weights=weights), peer("nms", *lists, weights=weights))


@settings(max_examples=40, deadline=None)
@given(IMAGES, st.sampled_from([1, 2]), st.sampled_from([0.001, 0.2]))
def test_soft_nms_keeps_the_same_boxes_with_decayed_scores(case, method, floor):
    boxes, scores, labels = image(**case)
    ours = per_image.soft_nms(boxes, scores, labels, method=method, thresh=floor)
    theirs = peer("soft_nms", boxes, scores, labels, method=method, thresh=floor)
    same((ours[0], ours[2]), (theirs[0], theirs[2]))
    assert (ours[1] <= theirs[1]).all()
    wanted = decayed(*map(np.concatenate, (boxes, scores, labels)), method, floor)
    np.testing.assert_allclose(ours[1], wanted, rtol=1e-12)


def decayed(boxes, scores, labels, method, floor, sigma=0.5, iou=0.5):
    """Soft-NMS label by label, one box after the other."""
    answer = []
    for label in np.unique(labels):
        own, left = boxes[labels == label], scores[labels == label].copy()
        while len(left):
            k = int(np.argmax(left))
            box, score = own[k], left[k]
            own, left = np.delete(own, k, axis=0), np.delete(left, k)
            answer += [score] if score > floor else []
            for i, other in enumerate(own):
                side = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
                shared = math.prod(np.maximum(side, 0))
                overlap = shared / (math.prod(box[2:] - box[:2]) + math.prod(other[2:] - other[:2]) - shared)
                if method == 2:
                    left[i] *= math.exp(-(overlap**2) / sigma)
                elif overlap > iou:
                    left[i] *= 1 - overlap
    return answer


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lists_and_arrays_and_float32_give_the_same(name):
    boxes, scores, labels = image(1, 60, 3)
    arrays = ([part.astype(np.float32) for part in boxes], [part.astype(np.float32) for part in scores], labels)
    lists = tuple([part.tolist() for part in column] for column in arrays)
    one, two = getattr(per_image, name)(*arrays), getattr(per_image, name)(*lists)
    assert len(one[0]) > 0
    np.testing.assert_allclose(one[0], two[0])
    np.testing.assert_allclose(one[1], two[1], rtol=1e-6)
    assert one[2].tolist() == two[2].tolist()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("models", [0, 1, 3])
def test_all_empty(name, models):
    boxes, scores, labels = getattr(per_image, name)([[]] * models, [[]] * models, [[]] * models)
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_empty_models_are_passed_over(name):
    models = [[], [[0, 0, 0.5, 0.5]], np.zeros((0, 4))]
    boxes, _, labels = getattr(per_image, name)(models, [[], [0.9], []], [[], [3], []])
    assert boxes.tolist() == [[0, 0, 0.5, 0.5]]
    assert labels.tolist() == [3]


def test_labels_come_back_as_the_public_package_gives_them():
    box = [[[0.1, 0.1, 0.5, 0.5]]]
    assert per_image.weighted_boxes_fusion(box, [[0.5]], [[7]])[2].dtype == np.float64
    assert per_image.non_maximum_weighted(box, [[0.5]], [[7]])[2].dtype == np.float32
    assert per_image.non_maximum_weighted(box, [[0.5]], [[2**24 + 1]])[2].tolist() == [2**24 + 1]
    assert per_image.nms(box, [[0.5]], [np.array([7], np.int16)])[2].dtype == np.int16


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "labels",
    [["cat", "dog", "cat"], [1, "1", 1], [1.5, 1.0, 1.5], [2**62, 2**62 + 1, 2**62], [("a", 1), None, ("a", 1)]],
)
def test_labels_of_any_kind_keep_boxes_apart(name, labels):
    boxes = [[0.1, 0.1, 0.5, 0.5]] * 3
    options = {"thresh": 0.5} if name == "soft_nms" else {}
    fused = getattr(per_image, name)([boxes], [[0.9, 0.8, 0.7]], [labels], **options)
    assert sorted(fused[2].tolist(), key=str) == sorted(labels[:2], key=str)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_pixel_boxes_are_not_clipped(name):
    boxes, _, _ = getattr(per_image, name)([[[10, -20, 300.5, 400]]], [[0.9]], [[0]])
    assert boxes.tolist() == [[10, -20, 300.5, 400]]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_swapped_corners_are_put_right_and_flat_boxes_left_out(name):
    boxes = [[[0.5, 0.5, 0.25, 0.125], [0.5, 0.5, 0.5, 0.75]]]
    assert getattr(per_image, name)(boxes, [[0.9, 0.8]], [[0, 0]])[0].tolist() == [[0.25, 0.125, 0.5, 0.5]]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_callers_lists_stay_as_they_are(name):
    lists = image(3, 30, 2)
    before = copy.deepcopy(lists)
    getattr(per_image, name)(*lists, weights=[2, 1])
    for given_, kept in zip(lists, before, strict=True):
        for one, two in zip(given_, kept, strict=True):
            assert np.array_equal(one, two)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_weight_zero_is_fine(name):
    boxes = [[[0.1, 0.1, 0.5, 0.5]], [[0.6, 0.6, 0.9, 0.9]]]
    fused = getattr(per_image, name)(boxes, [[0.9], [0.8]], [[0], [0]], weights=[1, 0])
    assert np.isfinite(fused[0]).all()
    assert fused[1].tolist()[0] == pytest.approx(0.9)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", ["box", "score", "label"])
def test_numbers_that_are_not_finite_are_named(name, bad, place):
    lists = image(5, 40, 3)
    column = lists[["box", "score", "label"].index(place)]
    column[1] = column[1].astype(float)
    column[1][2] = bad
    with pytest.raises(InputError, match=r"model 1, box 2 \(counted from 0\): expected finite"):
        getattr(per_image, name)(*lists)


BOX, TWO = [[0.1, 0.1, 0.5, 0.5]], [[0.1, 0.1, 0.5, 0.5]] * 2


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("lists", "options", "message"),
    [
        (([TWO], [[0.9]], [[0, 0]]), {}, r"model 0 \(counted from 0\): expected boxes \[n, 4\]"),
        (([BOX], [[0.9]], [[0, 0]]), {}, "model 0"),
        (([BOX], [[0.9], [0.8]], [[0]]), {}, "expected one entry per model"),
        (([[[0.1, 0.1, 0.5]]], [[0.9]], [[0]]), {}, "model 0"),
        (([[[0.1, 0.1, 0.5], [0.1]]], [[0.9, 0.8]], [[0, 0]]), {}, "rows of equal length"),
        (([[["a", "b", "c", "d"]]], [[0.9]], [[0]]), {}, "expected numbers"),
        (([BOX], [[0.9]], [[0]]), {"weights": [1, 2]}, "expected one for each of 1 models"),
        (([BOX], [[0.9]], [[0]]), {"weights": [-1]}, "option weights"),
        (([BOX], [[0.9]], [[0]]), {"weights": [0]}, "option weights"),
        (([BOX], [[0.9]], [[0]]), {"weights": [math.nan]}, "option weights"),
        (([BOX], [[0.9]], [[0]]), {"iou_thr": 2}, "option iou_thr"),
    ],
)
def test_bad_input_is_named(name, lists, options, message):
    with pytest.raises(InputError, match=message):
        getattr(per_image, name)(*lists, **options)


def test_bad_options_of_single_functions():
    with pytest.raises(InputError, match="option conf_type"):
        per_image.weighted_boxes_fusion([BOX], [[0.9]], [[0]], conf_type="mean")
    with pytest.raises(InputError, match="option skip_box_thr"):
        per_image.weighted_boxes_fusion([BOX], [[0.9]], [[0]], skip_box_thr=math.nan)
    with pytest.raises(InputError, match="option method"):
        per_image.nms_method([BOX], [[0.9]], [[0]], method=4)
    with pytest.raises(InputError, match="option thresh"):
        per_image.soft_nms([BOX], [[0.9]], [[0]], thresh=-1)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_are_those_of_the_public_package(name):
    package = pytest.importorskip("ensemble_boxes", reason="the public package is an optional peer")
    ours, theirs = (inspect.signature(getattr(module, name)).parameters.values() for module in (per_image, package))
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


@pytest.mark.parametrize("name", FUSING)
def test_negative_scores_below_the_threshold_only_count_where_asked_for(name):
    function = getattr(per_image, name)
    assert len(function([BOX], [[-0.5]], [[0]])[0]) == 0
    assert function([BOX], [[-0.5]], [[0]], skip_box_thr=-1)[1].tolist() == [-0.5]

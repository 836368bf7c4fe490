"""What is learned of members' boxes: shifts that are known, noise, groups that disagree."""

import numpy as np
import pytest

from evaluation.box_corrections import learn_box_correction
from evaluation.folds import folds_of, groups_in_names
from evaluation.ground_truth import GroundTruth
from fusion.errors import InputError
from fusion.table import DetectionTable, Metadata


def objects(rng, images, each=4, categories=3):
    """Objects far apart from each other, and the same in every image."""
    n = images * each
    low = np.stack([np.tile(np.arange(each), images) * 300.0, np.full(n, 20.0)], axis=1)
    size = rng.uniform(20, 200, (n, 2))
    return GroundTruth.from_arrays(
        image_id=np.arange(images),
        category_id=np.arange(1, categories + 1),
        annotation_image_id=np.repeat(np.arange(images), each),
        annotation_category_id=rng.integers(1, categories + 1, n),
        xywh=np.hstack([low, size]),
        width=[1500] * images,
        height=[400] * images,
    )


def detections(truth, corners, name="a", scores=0.5):
    return DetectionTable.from_arrays(
        image_id=truth.image_id[truth.image],
        category_id=truth.category_id[truth.category],
        score=np.full(len(corners), scores),
        xyxy=corners,
        metadata=Metadata(member=name),
    )


def drawn(truth, shares):
    """The boxes whose sides are off by so much that these shares of their own size bring them back."""
    # corner + share * size = wanted, for both sides of an axis at once
    wanted, shares = truth.corners, np.broadcast_to(shares, truth.corners.shape)
    corners = wanted.copy()
    for axis in (0, 1):
        low, high = shares[:, axis], shares[:, 2 + axis]
        size = (wanted[:, 2 + axis] - wanted[:, axis]) / (1 + high - low)
        corners[:, axis] = wanted[:, axis] - low * size
        corners[:, 2 + axis] = wanted[:, 2 + axis] - high * size
    return corners


def test_a_constant_shift_is_found():
    truth = objects(np.random.default_rng(0), 60)
    table = detections(truth, drawn(truth, [-0.05, 0.1, 0.08, 0.0]))
    found = learn_box_correction(table, truth)
    assert found.form == "constant"
    np.testing.assert_allclose(np.ravel(found.side), [-0.05, 0.1, 0.08, 0.0], atol=1e-9)
    np.testing.assert_allclose(found.spread, 0, atol=1e-9)
    assert found.frame == (1500.0, 400.0)
    np.testing.assert_allclose(found(np.stack(table_corners(table), 1), table.category_id), truth.corners, atol=1e-6)


def table_corners(table):
    x, y, w, h = table.xywh.T
    return x, y, x + w, y + h


def test_few_wild_boxes_do_not_move_it():
    rng = np.random.default_rng(1)
    truth = objects(rng, 80)
    shares = np.tile([0.05, 0.05, 0.05, 0.05], (len(truth), 1))
    shares[rng.random(len(truth)) < 0.15] = [-0.3, -0.2, 0.1, 0.1]
    found = learn_box_correction(detections(truth, drawn(truth, shares)), truth, form="constant")
    np.testing.assert_allclose(np.ravel(found.side), 0.05, atol=0.02)


def test_what_depends_on_size_is_found():
    truth = objects(np.random.default_rng(2), 150)
    high = np.log(truth.xywh[:, 3])
    shares = np.zeros((len(truth), 4))
    shares[:, 3] = 0.3 - 0.06 * high
    table = detections(truth, drawn(truth, shares))
    found = learn_box_correction(table, truth)
    assert found.form == "size"
    moved = found(np.stack(table_corners(table), 1), table.category_id)
    # sizes of the boxes are not those of the objects, and a ridge shrinks: not exactly
    before = np.abs(np.stack(table_corners(table), 1) - truth.corners)[:, 3].mean()
    assert np.abs(moved - truth.corners)[:, 3].mean() < before / 8


def test_what_depends_on_the_place_is_found_when_asked():
    truth = objects(np.random.default_rng(3), 150)
    shares = np.zeros((len(truth), 4))
    shares[:, 0] = truth.xywh[:, 0] / 900 * 0.2 - 0.1
    table = detections(truth, drawn(truth, shares))
    left = {
        form: np.abs(
            learn_box_correction(table, truth, form=form)(np.stack(table_corners(table), 1), table.category_id)
            - truth.corners
        ).mean()
        for form in ("best", "position")
    }
    assert left["position"] < left["best"] / 5


def test_boxes_that_are_only_noisy_are_left_alone():
    rng = np.random.default_rng(4)
    truth = objects(rng, 60)
    table = detections(truth, truth.corners + rng.normal(0, 4, (len(truth), 4)))
    assert learn_box_correction(table, truth).form == "none"


def test_groups_that_disagree_shrink_it_or_forbid_it():
    rng = np.random.default_rng(5)
    truth = objects(rng, 120)
    groups = np.repeat(["a", "b", "c", "d"], 30)
    own = {"a": 0.12, "b": -0.12, "c": 0.1, "d": -0.1}
    shares = np.array([own[group] for group in groups[truth.image]])[:, None] + rng.normal(0, 0.03, (len(truth), 4))
    table = detections(truth, drawn(truth, shares))
    assert learn_box_correction(table, truth, groups=groups).form == "none"
    own = {"a": 0.12, "b": 0.0, "c": 0.1, "d": 0.02}
    shares = np.array([own[group] for group in groups[truth.image]])[:, None] + rng.normal(0, 0.005, (len(truth), 4))
    found = learn_box_correction(detections(truth, drawn(truth, shares)), truth, groups=groups)
    assert found.form.startswith("constant")
    assert 0 < np.mean(found.side) < 0.08


def test_categories_differ_where_there_are_enough():
    rng = np.random.default_rng(6)
    truth = objects(rng, 200)
    kind = truth.category_id[truth.category]
    shares = np.where((kind == 2)[:, None], [0.0, 0, 0, 0.1], 0.0) + rng.normal(0, 0.005, (len(truth), 4))
    table = detections(truth, drawn(truth, shares))
    found = learn_box_correction(table, truth)
    corners = np.stack(table_corners(table), 1)
    for category in (1, 2, 3):
        wanted = 0.1 if category == 2 else 0.0
        shift = found.shifts(corners[kind == category], kind[kind == category])
        np.testing.assert_allclose(shift.mean(axis=0), [0, 0, 0, wanted], atol=0.015)
    assert not learn_box_correction(table, truth, per_category=False).category


def test_nothing_to_learn_from():
    truth = objects(np.random.default_rng(7), 5)
    far = detections(truth, truth.corners + 5000)
    for form in ("best", "constant"):
        assert learn_box_correction(far, truth, form=form).form == "none"
    flat = truth.corners.copy()
    flat[:, 2] = flat[:, 0]
    assert learn_box_correction(detections(truth, flat), truth).form == "none"
    assert learn_box_correction(far.select_images([]), truth).spread == ()
    with pytest.raises(InputError, match="best, none, constant, size, position"):
        learn_box_correction(far, truth, form="linear")


def test_folds_keep_groups_together():
    truth = objects(np.random.default_rng(8), 40)
    assert np.bincount(folds_of(truth)).tolist() == [8] * 5
    assert np.all(np.diff(folds_of(truth)) >= 0)
    few = np.repeat(["b", "a", "c"], [30, 5, 5])
    assert len(set(zip(few.tolist(), folds_of(truth, few).tolist(), strict=True))) == 3
    many = np.repeat(np.arange(20), 2)
    fold = folds_of(truth, many)
    assert np.bincount(fold).tolist() == [8] * 5
    assert all(len(set(fold[many == group].tolist())) == 1 for group in range(20))
    with pytest.raises(InputError, match="all images are of one"):
        folds_of(truth, ["x"] * 40)
    with pytest.raises(InputError, match="each of 40 images, got 3"):
        folds_of(truth, ["x"] * 3)


@pytest.mark.parametrize(
    ("names", "first"),
    [
        ([f"day{k // 10}/cam{k % 2}/{k}.png" for k in range(40)], "day0"),
        ([f"all/clip{k // 10}/{k}.png" for k in range(40)], "all/clip0"),
        ([f"clip{k // 10}_{k:06d}.jpg" for k in range(40)], "clip0_"),
        ([f"{k:012d}.jpg" for k in range(40)], None),
        ([f"picture{k}.jpg" for k in range(40)], None),
        ([""] * 40, None),
    ],
)
def test_groups_that_names_suggest(names, first):
    truth = GroundTruth.from_arrays(
        image_id=range(40),
        category_id=[1],
        annotation_image_id=[],
        annotation_category_id=[],
        xywh=np.zeros((0, 4)),
        file_name=names,
    )
    found = groups_in_names(truth)
    assert (None if found is None else found[0][0].rstrip("_")) == (None if first is None else first.rstrip("_"))

"""What members go through: held back honestly, and only where it helps."""

import numpy as np
import pytest

from evaluation import prepare
from evaluation.box_corrections import learn_box_correction
from evaluation.calibration import learn_calibration
from evaluation.folds import folds_of
from fusion.box_weights import box_weights_of
from fusion.run import apply
from fusion.steps.calibrate import Calibrate
from fusion.steps.correct_boxes import CorrectBoxes
from fusion.table import DetectionTable
from search.preparation import TREATMENTS, _joined, prepare_members, worthwhile
from tests.search.members import make_members, make_truth

TRUTH = make_truth(3, images=60, categories=3, objects=400)


def changed(table, *, score=None, xywh=None):
    return DetectionTable.from_arrays(
        image_id=table.image_id,
        category_id=table.category_id,
        score=table.score if score is None else score,
        xywh=table.xywh if xywh is None else xywh,
        metadata=table.metadata,
    )


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_each_image_comes_from_what_was_learned_without_its_fold(treatment):
    tables = make_members(3, 3, TRUTH)
    prepared, fold = prepare(TRUTH), folds_of(TRUTH)
    found = prepare_members(tables, prepared, fold, treatment)
    assert found.treatment == treatment
    assert found.AP == {}
    without = []
    for number in range(5):
        own_corrections = {}
        rest = TRUTH.subset(TRUTH.image_id[fold != number])
        held = TRUTH.image_id[fold == number]
        for table, ours in zip(tables, found.tables, strict=True):
            name, theirs = table.metadata.member, table.select_images(held)
            if "correct" in TREATMENTS[treatment]:
                seen = table.select_images(rest.image_id)
                own = learn_box_correction(seen, rest, groups=fold[fold != number])
                theirs = apply(CorrectBoxes(corrections={name: own}), theirs)
                own_corrections[name] = own
            if "calibrate" in TREATMENTS[treatment]:
                maps = {name: learn_calibration(table.select_images(rest.image_id), rest)}
                theirs = apply(Calibrate(maps=maps), theirs)
            part = ours.select_images(held)
            assert part.score.tobytes() == theirs.score.astype(float).tobytes()
            assert part.xywh.tobytes() == theirs.xywh.tobytes()
        without.append(own_corrections)
    assert [table.metadata.member for table in found.tables] == [table.metadata.member for table in tables]
    kinds = set(TREATMENTS[treatment])
    assert {len(steps) for steps in found.steps.values()} == {len(kinds - {"weigh"})}
    corrections = {name: step.corrections[name] for name, (step, *_) in found.steps.items()} if "weigh" in kinds else {}
    assert found.box_weights == (box_weights_of(corrections) if corrections else None)
    assert [one.box_weights for one in found.held] == ([box_weights_of(own) for own in without] if corrections else [])


def test_what_helps_is_taken():
    tables = make_members(3, 3, TRUTH)
    shrunk = []
    for table in tables:
        x, y, w, h = table.xywh.T
        shrunk.append(changed(table, xywh=np.stack([x + 0.1 * w, y, 0.85 * w, 0.9 * h], axis=1)))
    found = prepare_members(shrunk, prepare(TRUTH), folds_of(TRUTH))
    assert "corrected" in found.treatment
    assert set(found.AP) == set(TREATMENTS)
    assert found.AP[found.treatment] > found.AP["as they are"] + 0.05


def test_sides_are_weighted_where_members_draw_them_unlike():
    """Each member draws two sides well and two badly, by chance: nothing to be corrected."""
    rng = np.random.default_rng(8)
    truth = make_truth(8, images=150, categories=2, objects=900)
    tables = []
    for number, table in enumerate(make_members(8, 4, truth)):
        far = rng.normal(0, [0.16, 0.16, 0.005, 0.005] if number % 2 else [0.005, 0.005, 0.16, 0.16], (len(table), 4))
        x, y, w, h = table.xywh.T
        left, top, right, low = x + far[:, 0] * w, y + far[:, 1] * h, x + w + far[:, 2] * w, y + h + far[:, 3] * h
        tables.append(changed(table, xywh=np.stack([left, top, right - left, low - top], axis=1)))
    prepared, fold = prepare(truth), folds_of(truth)
    found = prepare_members(tables, prepared, fold)
    assert found.treatment == "corrected, calibrated and weighted by side"
    assert found.AP[found.treatment] > found.AP["corrected and calibrated"] + 0.01
    for left, top, right, low in found.box_weights.values():
        assert min(left, top) > max(right, low) or min(right, low) > max(left, top)
    assert "weighted" not in prepare_members(tables, prepared, fold, weigh=False).treatment


def test_what_does_not_help_is_left():
    rng = np.random.default_rng(4)
    truth = make_truth(4, images=12, categories=2, objects=30)
    [one] = make_members(4, 1, truth)
    alike = [
        changed(one, xywh=one.xywh + rng.normal(0, 0.3, one.xywh.shape)).with_metadata(member=name) for name in "abc"
    ]
    assert prepare_members(alike, prepare(truth), folds_of(truth)).treatment == "as they are"


def test_unlike_scales_are_always_brought_together():
    tables = make_members(3, 2, TRUTH)
    tables[1] = changed(tables[1], score=100 * tables[1].score)
    found = prepare_members(tables, prepare(TRUTH), folds_of(TRUTH))
    assert set(found.AP) == {name for name, kinds in TREATMENTS.items() if "calibrate" in kinds}


def test_folds_whose_boxes_are_corrected_join_those_of_single_precision():
    [table] = make_members(3, 1, TRUTH)
    single = changed(table, score=table.score.astype(np.float32), xywh=table.xywh.astype(np.float32))
    first, rest = single.select_images(TRUTH.image_id[:20]), table.select_images(TRUTH.image_id[20:])
    joined = _joined([first, rest])
    assert joined.select_images(first.image_ids).xywh.tobytes() == first.xywh.astype(float).tobytes()
    assert joined.select_images(rest.image_ids).xywh.tobytes() == rest.xywh.tobytes()


def test_a_member_that_finds_nothing():
    tables = make_members(3, 2, TRUTH)
    tables[1] = tables[1].select_images([])
    found = prepare_members(tables, prepare(TRUTH), folds_of(TRUTH))
    assert len(found.tables[1]) == 0
    half = tables[0].select_images(TRUTH.image_id[:6]).with_metadata(member="half")
    found = prepare_members([tables[0], half], prepare(TRUTH), folds_of(TRUTH), "calibrated")
    assert len(found.tables[1]) == len(half)


def test_worthwhile_is_more_than_chance():
    prepared = prepare(TRUTH)
    tables = make_members(3, 3, TRUTH)
    best, second = prepared.evaluate(tables[0]), prepared.evaluate(tables[1])
    assert worthwhile(second, best)
    assert not worthwhile(best, second)
    assert not worthwhile(best, best)

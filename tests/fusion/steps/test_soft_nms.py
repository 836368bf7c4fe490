import math
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load import make_load
from fusion import adj_nms, nms_then_soft, soft_nms
from fusion.columns import sort_columns
from fusion.errors import InputError
from fusion.kernels import jit
from fusion.run import trace
from fusion.steps.adj_nms import AdjNms
from fusion.steps.nms_then_soft import NmsThenSoft
from fusion.steps.soft_nms import SoftNms
from fusion.suppression import METHODS
from fusion.table import DetectionTable
from tests.oracles import suppression as oracle

SCENES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "size": st.integers(1, 90),
        "cells": st.sampled_from([1, 1, 3, 40]),
        "scale": st.sampled_from([1.0, 640.0, 1e-30, 1e30, 1e200]),
        "offset": st.sampled_from([0.0, 0.0, -0.5, 1e7]),
        "ties": st.booleans(),
        "flat": st.booleans(),
    }
)
FLOORS = st.sampled_from([0.0, 0.001, 0.1, 0.5])


def table(xywh, score):
    n = len(score)
    return DetectionTable.from_arrays(
        image_id=[1] * n, category_id=[1] * n, score=score, xywh=np.array(xywh, float).reshape(n, 4)
    ).with_metadata(member="a")


def pool_of(load):
    columns = sort_columns(load.image, load.category, load.score, load.x1, load.y1, load.x2, load.y2, load.member)
    return oracle.SimpleNamespace(columns=columns)


@settings(max_examples=120, deadline=None)
@given(
    SCENES,
    st.sampled_from(METHODS),
    st.sampled_from([0.5, 0.05, 3.0, 1e-300]),
    st.sampled_from([0.0, 1 / 3, 0.5]),
    FLOORS,
)
def test_equals_the_plain_definition(scene, method, sigma, iou, floor):
    pool, cells = oracle.scene(**scene)
    fused = SoftNms(method=method, sigma=sigma, iou=iou, floor=floor).fuse(pool, sources=True)
    options = {"method": method, "sigma": sigma, "threshold": iou, "floor": floor}
    assert oracle.listed(fused) == oracle.expected(cells, oracle.soft_nms, **options)


@settings(max_examples=100, deadline=None)
@given(SCENES, st.sampled_from(METHODS), st.sampled_from([0.3, 0.5, 0.7]), FLOORS)
def test_after_hard_suppression(scene, method, iou, floor):
    pool, cells = oracle.scene(**scene)
    fused = NmsThenSoft(iou=iou, method=method, soft_iou=0.2, floor=floor).fuse(pool, sources=True)
    options = {"hard_threshold": iou, "method": method, "threshold": 0.2, "floor": floor}
    assert oracle.listed(fused) == oracle.expected(cells, oracle.nms_then_soft, **options)
    if method == "gaussian":
        assert oracle.listed(AdjNms(iou=iou, floor=floor).fuse(pool, sources=True)) == oracle.listed(fused)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 90), FLOORS)
def test_one_factor_per_pick_gives_the_same_scores(seed, size, floor):
    pool, cells = oracle.scene(seed, size)
    ours = oracle.listed(SoftNms(floor=floor).fuse(pool, sources=True))
    theirs = oracle.expected(cells, oracle.soft_nms_by_factors, floor=floor)
    assert [entry[2] for entry in ours] == [entry[2] for entry in theirs]
    assert np.allclose([entry[1] for entry in ours], [entry[1] for entry in theirs], rtol=0, atol=1e-12)


def test_by_hand():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 5], [100, 0, 10, 10]]
    fused = soft_nms(table(boxes, [0.8, 0.9, 0.5]))
    assert fused.score.tolist() == [0.9, 0.5, 0.8 * math.exp(-0.25 / 0.5)]
    assert soft_nms(table(boxes, [0.8, 0.9, 0.5]), method="linear").score.tolist() == [0.9, 0.8, 0.5]
    assert soft_nms(table(boxes, [0.8, 0.9, 0.5]), method="linear", iou=0.4).score.tolist() == [0.9, 0.5, 0.4]


def test_equal_to_the_floor_stays():
    boxes = [[0, 0, 1, 1], [5, 5, 1, 1], [9, 9, 1, 1]]
    assert soft_nms(table(boxes, [0.3, 0.2, 0.1]), floor=0.2).score.tolist() == [0.3, 0.2]


def test_negative_scores_are_under_any_floor():
    assert soft_nms(table([[0, 0, 1, 1], [5, 5, 1, 1], [7, 7, 1, 1]], [-0.0, -0.5, 0.0]), floor=0.0).score.tolist() == [
        0,
        0,
    ]


def test_scores_that_become_equal_go_by_row():
    two = [[0, 0, 10, 10], [40, 0, 10, 10], [0, 5, 10, 10], [40, 5, 10, 10]]
    fused, sources = trace(SoftNms(), table(two, [0.9, 0.9, 0.4, 0.4]))
    assert sources.row.tolist() == [0, 1, 2, 3]
    assert fused.score[2] == fused.score[3]


def test_duplicates_fall_one_after_the_other():
    fused = soft_nms(table([[0, 0, 10, 10]] * 5, [1.0] * 5), floor=0.0)
    assert fused.score.tolist() == [math.exp(-k / 0.5) for k in range(5)]
    assert soft_nms(table([[0, 0, 10, 10]] * 5, [1.0] * 5), method="linear", floor=0.0).score.tolist() == [
        1,
        0,
        0,
        0,
        0,
    ]


@pytest.mark.parametrize("step", [SoftNms(), SoftNms(method="linear"), AdjNms(), NmsThenSoft()])
def test_empty_and_single(step):
    assert len(trace(step, table([], []))[0]) == 0
    assert trace(step, table([[1, 2, 3, 4]], [0.25]))[0].score.tolist() == [0.25]
    assert len(trace(step, table([[1, 2, 3, 4]], [0.0001]))[0]) == 0


def test_functions_are_their_steps():
    boxes, score = [[0, 0, 10, 10], [0, 1, 10, 10], [0, 4, 10, 10]], [0.9, 0.8, 0.7]
    assert adj_nms(table(boxes, score)).score.tolist() == trace(AdjNms(), table(boxes, score))[0].score.tolist()
    assert nms_then_soft(table(boxes, score)).score.tolist() == adj_nms(table(boxes, score), iou=0.7).score.tolist()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("method", "cubic"),
        ("sigma", 0),
        ("sigma", -1.0),
        ("sigma", math.inf),
        ("iou", 2),
        ("floor", -0.1),
        ("floor", "x"),
    ],
)
def test_options_out_of_range(option, value):
    with pytest.raises(InputError, match=f"option {option}"):
        SoftNms(**{option: value})
    if option in ("sigma", "floor"):
        for step in (AdjNms, NmsThenSoft):
            with pytest.raises(InputError, match=f"option {option}"):
                step(**{option: value})


@pytest.mark.parametrize("method", METHODS)
def test_one_huge_cell(method):
    pool, cells = oracle.scene(1, 1500, cells=1)
    fused = SoftNms(method=method).fuse(pool, sources=True)
    assert oracle.listed(fused) == oracle.expected(cells, oracle.soft_nms, method=method)


def test_ten_thousand_boxes_in_one_cell():
    pool, _ = oracle.scene(2, 10_000, cells=1)
    score = SoftNms().fuse(pool).score
    assert (np.diff(score) <= 0).all()
    assert score[-1] >= 0.001


@pytest.mark.parametrize("step", [SoftNms(), SoftNms(method="linear"), AdjNms()])
def test_threads_and_pieces_change_nothing(step, monkeypatch):
    pool = pool_of(make_load(40))
    answers = []
    for threads, size in (("1", 65536), ("2", 65536), ("2", 97)):
        monkeypatch.setenv("QUORUM_THREADS", threads)
        monkeypatch.setattr(
            import_module("fusion.suppression"), "chunks", lambda start, size=size: jit.chunks(start, size)
        )
        answers.append(oracle.listed(step.fuse(pool, sources=True)))
    assert answers.count(answers[0]) == 3


@pytest.mark.parametrize(("method", "number"), [("linear", 1), ("gaussian", 2)])
def test_kept_boxes_of_ensemble_boxes(method, number):
    """Kept sets only: the public package returns the scores as they were before decay."""
    peer = pytest.importorskip("ensemble_boxes")
    load = make_load(4, seed=3)
    pool = pool_of(load)
    fused = SoftNms(method=method).fuse(pool)
    corners = np.stack([load.x1, load.y1, load.x2, load.y2], axis=1)
    for i in range(4):
        own = load.image == i
        boxes, _, _ = peer.soft_nms(
            [corners[own]], [load.score[own]], [load.category[own]], method=number, iou_thr=0.5, sigma=0.5, thresh=0.001
        )
        ours = corners[fused.row[pool.columns.image[fused.cell] == i]]
        assert np.array_equal(ours[np.lexsort(ours.T)], boxes[np.lexsort(boxes.T)])

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load import make_load
from fusion import nms
from fusion.columns import sort_columns
from fusion.errors import InputError
from fusion.kernels import jit
from fusion.kernels.filter import frame_of, hits, margin, narrow, place, share_factor
from fusion.kernels.jit import uncounted
from fusion.kernels.vectors import verdicts
from fusion.run import trace
from fusion.steps.nms import Nms
from fusion.table import DetectionTable
from tests.oracles import suppression as oracle

SCENES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "size": st.integers(1, 90),
        "cells": st.sampled_from([1, 1, 3, 40]),
        "scale": st.sampled_from([1.0, 640.0, 1e-6, 1e-30, 1e-200, 1e30, 1e200]),
        "offset": st.sampled_from([0.0, 0.0, -0.5, -3e4, 1e7, 1e30]),
        "ties": st.booleans(),
        "flat": st.booleans(),
    }
)


def table(member, xywh, score, image_id=None, category_id=None):
    n = len(score)
    return DetectionTable.from_arrays(
        image_id=image_id or [1] * n,
        category_id=category_id or [1] * n,
        score=score,
        xywh=np.array(xywh, float).reshape(n, 4),
    ).with_metadata(member=member)


@settings(max_examples=120, deadline=None)
@given(SCENES, st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.9, 1.0]))
def test_equals_the_plain_definition(scene, iou):
    pool, cells = oracle.scene(**scene)
    assert oracle.listed(Nms(iou=iou).fuse(pool, sources=True)) == oracle.expected(cells, oracle.nms, threshold=iou)


@uncounted
def judge(near, box, more):
    return verdicts(near, 0, box[0], box[1], box[2], box[3], box[4], more)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(2, 16),
    st.floats(0, 1),
    st.sampled_from([1.0, 1e-5, 1e-8, 1e-9, 1e4, 1e14, 1e15]),
    st.sampled_from([0.0, 1.0, -1e3, 1e7]),
    st.booleans(),
)
def test_filter_never_errs(seed, size, threshold, scale, offset, small):
    """Thresholds at, just under and just above the IoU of some pair, where rounding decides."""
    rng = np.random.default_rng(seed)
    low = rng.random((size, 2)) * (0.1 if small else 1) + 0.1
    high = low + rng.random((size, 2)) * (10.0 ** rng.integers(-6, 0, (size, 2)))
    low[1:], high[1:] = low[:-1] + (high - low)[:-1] * rng.choice([0, 1e-7, 0.1], (size - 1, 2)), high[:-1]
    low[0], high[0] = 0, 1
    boxes = np.ascontiguousarray(np.hstack((low, np.maximum(high, low))).T) * scale + offset
    near = np.empty((1, 5, 16), np.float32)
    ious = {(i, j): oracle.iou(boxes[:, i], boxes[:, j]) for i in range(size) for j in range(size)}
    near_ious = [u for u in list(ious.values())[::7] if u > 0]
    for limit in {threshold, *(np.clip(u * (1 + by), 0, 1) for u in near_ious for by in (-1e-6, -1e-16, 0, 1e-7))}:
        origin, factor = frame_of(*boxes, 0, size), share_factor(float(limit))
        thin = [narrow(*boxes[:, i], origin, factor) for i in range(size)]
        for i in range(size):
            place(near, i, thin[i])
        for i in range(size):
            bits = int(hits(near[0], thin[i]))
            assert bits >> size == 0
            missed = [j for j in range(size) if ious[i, j] > limit and not bits >> j & 1]
            assert not missed
            certain = int(judge(near[0], thin[i], margin(*thin[i][:4], origin[2]))) >> 16
            assert not [j for j in range(16) if certain >> j & 1 and not (j < size and ious[i, j] > limit)]


def test_the_filter_is_not_a_sieve():
    rng = np.random.default_rng(0)
    low = rng.random((2, 16)) * 1000 + 1e7
    boxes = np.vstack((low, low + 30))
    origin = frame_of(*boxes, 0, 16)
    near = np.empty((1, 5, 16), np.float32)
    thin = [narrow(*boxes[:, i], origin, share_factor(0.5)) for i in range(16)]
    for i in range(16):
        place(near, i, thin[i])
    assert all(int(hits(near[0], thin[i])).bit_count() == 1 for i in range(16))
    sure = [int(judge(near[0], box, margin(*box[:4], origin[2]))) >> 16 for box in thin]
    assert sure == [1 << i for i in range(16)]


def test_equal_is_not_above():
    wide, half = [0, 0, 4, 1], [0, 0, 2, 1]
    kept = nms(table("a", [wide, half], [0.9, 0.8]), iou=0.5)
    assert kept.score.tolist() == [0.9, 0.8]
    assert nms(table("a", [wide, half], [0.9, 0.8]), iou=0.49).score.tolist() == [0.9]


def test_ties_of_score_go_by_row_through_the_tables():
    same = [[0, 0, 10, 10]]
    fused, sources = trace(Nms(), [table("a", same, [0.5]), table("b", same * 2, [0.5, 0.5])])
    assert fused.arrow["member"].to_pylist() == ["a"]
    assert sources.start.tolist() == [0, 3]
    assert sources.row.tolist() == [0, 1, 2]


def test_cells_do_not_touch_each_other():
    same = [[0, 0, 10, 10]] * 4
    fused = nms(table("a", same, [0.4, 0.3, 0.2, 0.1], image_id=[1, 1, 2, 2], category_id=[1, 2, 1, 1]))
    assert fused.image_id.tolist() == [1, 1, 2]
    assert fused.score.tolist() == [0.4, 0.3, 0.2]


def test_a_suppressed_box_suppresses_nothing():
    chain = [[0, 0, 10, 10], [4, 0, 10, 10], [8, 0, 10, 10]]
    assert nms(table("a", chain, [0.9, 0.8, 0.7]), iou=0.4).score.tolist() == [0.9, 0.7]


def test_boxes_without_area_stay():
    flat = [[0, 0, 0, 5], [0, 0, 0, 5], [0, 0, 5, 0], [0, 0, 0, 0]]
    assert len(nms(table("a", flat, [0.1, 0.2, 0.3, 0.4]), iou=0.0)) == 4


def test_empty_and_single():
    empty = nms(table("a", [], []))
    assert len(empty) == 0
    single, sources = trace(Nms(), [table("a", [], []), table("b", [[1, 2, 3, 4]], [-5.0])])
    assert single.score.tolist() == [-5.0]
    assert sources.row.tolist() == [0]


@pytest.mark.parametrize("iou", [-0.1, 1.1, float("nan"), "x", None, True])
def test_threshold_out_of_range(iou):
    with pytest.raises(InputError, match="option iou"):
        Nms(iou=iou)


def test_one_huge_cell():
    pool, cells = oracle.scene(0, 3000, cells=1)
    assert oracle.listed(Nms().fuse(pool, sources=True)) == oracle.expected(cells, oracle.nms)


def test_threads_and_pieces_change_nothing(monkeypatch):
    load = make_load(60)
    columns = sort_columns(load.image, load.category, load.score, load.x1, load.y1, load.x2, load.y2, load.member)
    pool = oracle.SimpleNamespace(columns=columns)
    answers = []
    for threads, size in (("1", 65536), ("2", 65536), ("2", 97), ("1", 1)):
        monkeypatch.setenv("QUORUM_THREADS", threads)
        monkeypatch.setattr(
            import_module("fusion.suppression"), "chunks", lambda start, size=size: jit.chunks(start, size)
        )
        answers.append(oracle.listed(Nms().fuse(pool, sources=True)))
    assert answers.count(answers[0]) == 4


def test_kept_boxes_of_ensemble_boxes():
    peer = pytest.importorskip("ensemble_boxes")
    load = make_load(15, seed=3)
    columns = sort_columns(load.image, load.category, load.score, load.x1, load.y1, load.x2, load.y2, load.member)
    fused = Nms(iou=0.5).fuse(oracle.SimpleNamespace(columns=columns))
    image, label = columns.image[fused.cell], columns.category[fused.cell]
    corners = np.stack([load.x1, load.y1, load.x2, load.y2], axis=1)
    for i in range(15):
        own = load.image == i
        boxes, scores, labels = peer.nms([corners[own]], [load.score[own]], [load.category[own]], iou_thr=0.5)
        ours = np.column_stack((label, fused.score, corners[fused.row]))[image == i]
        theirs = np.column_stack((labels, scores, boxes))
        assert len(ours) == len(theirs)
        assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])

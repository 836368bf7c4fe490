from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load import make_load
from fusion import vote
from fusion.columns import sort_columns
from fusion.errors import InputError
from fusion.kernels import jit
from fusion.run import trace
from fusion.steps.vote import Vote
from fusion.table import DetectionTable
from tests.oracles import suppression as oracle

SCENES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "size": st.integers(1, 90),
        "members": st.sampled_from([1, 3, 40]),
        "cells": st.sampled_from([1, 1, 3, 40]),
        "scale": st.sampled_from([1.0, 640.0, 1e-30, 1e30]),
        "offset": st.sampled_from([0.0, 0.0, -0.5, 1e7]),
        "ties": st.booleans(),
        "flat": st.booleans(),
    }
)


def table(member, xywh, score):
    n = len(score)
    return DetectionTable.from_arrays(
        image_id=[1] * n, category_id=[1] * n, score=score, xywh=np.array(xywh, float).reshape(n, 4)
    ).with_metadata(member=member)


@settings(max_examples=120, deadline=None)
@given(
    SCENES,
    st.sampled_from([1, 2, 4, 1000]),
    st.sampled_from([0.0, 0.05, 1.0]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.0, 1 / 3, 0.5, 1.0]),
)
def test_equals_the_plain_definition(scene, k, score, box, iou):
    pool, cells = oracle.scene(**scene)
    fused = Vote(k=k, score=score, box=box, iou=iou).fuse(pool, sources=True)
    expected = oracle.expected(cells, oracle.vote, k=k, score=score, box=box, threshold=iou)
    assert oracle.listed(fused) == expected


def test_by_hand():
    fused, sources = trace(
        Vote(),
        [table("a", [[0, 0, 10, 10], [50, 0, 10, 10]], [0.9, 0.8]), table("b", [[0, 0, 10, 8]], [0.5])],
    )
    assert fused.score.tolist() == [0.9 + 0.05 * 0.5, 0.8]
    assert fused.column("h").tolist() == [pytest.approx(0.7 * 10 + 0.3 * 8), 10]
    assert fused.column("votes").tolist() == [2, 1]
    assert sources.row.tolist() == [0, 2, 1]
    assert sources.start.tolist() == [0, 2, 3]


def test_boxes_of_other_members_vote_first():
    own = [[0, 0, 10, 10], [0, 0, 10, 9.9]]
    fused, sources = trace(
        Vote(k=2), [table("a", own, [0.9, 0.8]), table("b", [[0, 0, 10, 6], [0, 0, 10, 7]], [0.1, 0.2])]
    )
    assert sources.row.tolist() == [0, 3, 2]
    assert fused.column("votes").tolist() == [2]


def test_votes_can_change_the_order():
    one = [[0, 0, 10, 10], [50, 0, 10, 10]]
    fused = vote([table("a", one, [0.5, 0.49]), table("b", one[1:], [0.48])], score=0.5)
    assert fused.column("x").tolist() == [50, 0]


def test_empty_and_single():
    assert len(vote(table("a", [], []))) == 0
    single = vote(table("a", [[1, 2, 3, 4]], [0.5]))
    assert single.score.tolist() == [0.5]
    assert single.column("votes").tolist() == [1]


@pytest.mark.parametrize(("option", "value"), [("k", 0), ("k", 1.5), ("score", -1), ("box", 1.1), ("iou", -0.1)])
def test_options_out_of_range(option, value):
    with pytest.raises(InputError, match=f"option {option}"):
        Vote(**{option: value})


def test_one_huge_cell():
    pool, cells = oracle.scene(3, 1500, cells=1)
    assert oracle.listed(Vote().fuse(pool, sources=True)) == oracle.expected(cells, oracle.vote)


def test_threads_and_pieces_change_nothing(monkeypatch):
    load = make_load(40)
    columns = sort_columns(load.image, load.category, load.score, load.x1, load.y1, load.x2, load.y2, load.member)
    pool = oracle.SimpleNamespace(columns=columns)
    answers = []
    for threads, size in (("1", 65536), ("2", 65536), ("2", 97)):
        monkeypatch.setenv("QUORUM_THREADS", threads)
        monkeypatch.setattr(
            import_module("fusion.steps.vote"), "chunks", lambda start, size=size: jit.chunks(start, size)
        )
        answers.append(oracle.listed(Vote().fuse(pool, sources=True)))
    assert answers.count(answers[0]) == 3
    assert Vote().fuse(pool).sources is None

"""Formulas that stand once: how they come into kernels, and what no step shows of them."""

import math
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fusion.formulas import bound, boxes, clusters, masks, odds, runs, votes
from fusion.kernels.jit import formula

ROOT = Path(__file__).parents[2]


def test_a_formula_calls_what_is_compiled_of_the_others():
    asked = []

    def compiled(function):
        asked.append(function)
        return lambda *_: 0.25

    made = bound(boxes.overlap, compiled)
    assert asked == [boxes.iou]
    assert made(*np.zeros((4, 2)), 0, 1) == 0.25
    assert bound(boxes.iou, compiled) is boxes.iou
    assert boxes.overlap(*np.array([[0.0, 0], [0, 0], [2, 1], [1, 1]]), 0, 1) == 0.5


def test_a_formula_is_compiled_once():
    assert formula(boxes.overlap) is formula(boxes.overlap)


def test_no_kernel_of_the_gpu_takes_care_of_its_products():
    for folder in "fusion", "evaluation":
        for path in (ROOT / folder / "cuda").rglob("*.py"):
            assert "product(" not in path.read_text(encoding="utf-8") or path.name == "products.py", path


@given(st.lists(st.tuples(st.floats(0, 1e3), st.booleans()), max_size=128), st.booleans())
def test_weights_are_summed_as_numpy_does(members, present):
    weights = np.array([weight for weight, _ in members])
    inside = np.array([there for _, there in members], bool)
    bits = np.zeros(4, np.uint64)
    for m in np.flatnonzero(inside):
        bits[1 + m // 64] |= np.uint64(1) << np.uint64(m % 64)
    total = clusters.weight_of(bits, 1, weights, present, np.empty(8))
    assert total == weights[inside == present].sum()


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.25, 0.5, 0.75])), max_size=9), st.integers(1, 5))
def test_the_best_voters_come_first_and_equals_as_they_came(given_voters, k):
    others, ious, places = np.zeros(k + 2, np.int8), np.zeros(k + 2), np.full(k + 2, -1)
    found = 0
    for j, (other, u) in enumerate(given_voters):
        found = votes.enter(int(other), u, j, found, k, others, ious, places, 1)
    best = sorted(range(len(given_voters)), key=lambda j: (-given_voters[j][0], -given_voters[j][1], j))[:k]
    assert places[1 : 1 + found].tolist() == best
    assert places[0] == places[-1] == -1


@given(st.integers(-(2**40), 2**40))
def test_numbers_of_compressed_text_come_back(number):
    text = np.zeros(16, np.uint8)
    end = runs.write_number(number, text, 2)
    assert end == runs.write_number(number, np.empty(0, np.uint8), 2)  # counts without a text
    value, groups = 0, (text[2:end].astype(np.int64) - 48).tolist()
    for place, group in enumerate(groups):
        value |= (group & 31) << (5 * place)
        assert bool(group & 32) == (place + 1 < len(groups))
    assert value - (1 << 5 * len(groups) if groups[-1] & 16 else 0) == number


def test_votes_that_are_certain_outweigh_all_others():
    assert odds.joint(-50.0, 1) == 1.0
    assert odds.joint(50.0, -1) == 0.0
    assert odds.joint(-1e4, 0) == 0.0
    assert math.isclose(odds.joint(odds.log_odds(0.3) + odds.log_odds(0.7), 0), 0.5)


def test_a_pixel_needs_more_than_no_votes():
    assert masks.needed(1e-300, 1) == 1
    assert masks.needed(0.5, 3) == 2

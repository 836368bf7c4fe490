import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import prob_fusion
from fusion.errors import InputError
from fusion.run import trace
from fusion.steps.prob_fusion import ProbFusion
from tests.oracles import clustering as oracle
from tests.oracles.clustering import table


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 90),
    st.sampled_from([1, 2, 5, 70]),
    st.sampled_from([1.0, 640.0, 1e30]),
    st.sampled_from([0.0, -3e4]),
    st.booleans(),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_equals_the_plain_definition(seed, size, members, scale, offset, ties, iou):
    pool, cells = oracle.scene(seed, size, members, scale=scale, offset=offset, ties=ties, flat=True)
    fused = oracle.listed(ProbFusion(iou=iou).fuse(pool, sources=True))
    assert [(entry[0], -entry[1], entry[2]) for entry in fused] == sorted((e[0], -e[1], e[2]) for e in fused)
    theirs = {entry[2]: entry for entry in oracle.expected(cells, lambda boxes: oracle.prob_fusion(boxes, iou))}
    assert len(fused) == len(theirs)
    for cell, score, row, corners, votes, rows in fused:
        wanted = theirs[row]
        assert (cell, votes, rows) == (wanted[0], wanted[4], wanted[5])
        assert score == pytest.approx(wanted[1], rel=1e-12, abs=1e-300)
        assert corners == pytest.approx(wanted[3], rel=1e-12, abs=1e-12 * scale)


# scores that are certain or next to it, and what they are together
CERTAIN = [
    ((1.0, 0.3), 1.0),
    ((0.0, 0.3), 0.0),
    ((1.0, 0.0, 0.3), 0.3),
    ((1.0, 1.0, 0.0), 1.0),
    ((0.0, 0.0), 0.0),
    ((1.0, 0.0), 0.5),
    ((1e-300, 1e-300), 0.0),
]


def stacked(*scores):
    """One box per member, all in the same place."""
    return [table(f"m{m}", [[0, 0, 4, 4]], [score]) for m, score in enumerate(scores)]


def test_agreement_raises_the_score_and_doubt_lowers_it():
    assert prob_fusion(stacked(0.8, 0.8)).score[0] == pytest.approx(0.64 / (0.64 + 0.04))
    assert prob_fusion(stacked(0.8, 0.2)).score[0] == pytest.approx(0.5)


def test_a_vote_alone_keeps_its_score_and_box():
    fused = prob_fusion(table("a", [[0.1, 0.2, 0.3, 0.4]], [0.1 + 0.2]))
    assert fused.score.tolist() == [0.1 + 0.2]
    assert fused.xywh[0].tolist()[:2] == [0.1, 0.2]


def test_a_member_votes_once_with_its_best_box():
    a = table("a", [[0, 0, 4, 4], [0, 0, 4, 5]], [0.8, 0.7])
    fused, sources = trace(ProbFusion(), [a, *stacked(0.6)])
    assert fused.score[0] == pytest.approx(0.48 / (0.48 + 0.08))
    assert fused.column("votes").tolist() == [2]
    assert fused.xywh.tolist() == [[0, 0, 4, 4]]
    assert sources.row.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("scores", "fused"), CERTAIN)
def test_certain_scores(scores, fused):
    answer = prob_fusion(stacked(*scores))
    assert answer.score.tolist() == pytest.approx([fused])
    assert np.isfinite(answer.xywh).all()


def test_many_small_scores_do_not_underflow():
    assert prob_fusion(stacked(*[0.5] * 1200)).score[0] == 0.5


def test_scores_that_are_no_probabilities_are_counted():
    with pytest.raises(InputError, match=r"2 of 3 scores are outside \[0, 1\].*Calibrate first"):
        prob_fusion(table("a", [[0, 0, 4, 4]] * 3, [1.5, 0.5, -0.1]))


def test_empty_tables_give_an_empty_table():
    assert len(prob_fusion([table("a", [], []), table("b", [], [])])) == 0


def test_a_bad_threshold_is_named():
    with pytest.raises(InputError, match="option iou"):
        ProbFusion(iou=2)

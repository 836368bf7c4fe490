import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import consensus
from fusion.errors import InputError
from fusion.run import trace
from fusion.steps.consensus import Consensus
from tests.oracles import clustering as oracle
from tests.oracles.clustering import table


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 90),
    st.sampled_from([1, 2, 5, 70]),
    st.sampled_from([1.0, 640.0, 1e-200, 1e160]),
    st.sampled_from([0.0, -3e4]),
    st.booleans(),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(1, 4),
)
def test_equals_the_plain_definition(seed, size, members, scale, offset, ties, iou, least):
    pool, cells = oracle.scene(seed, size, members, scale=scale, offset=offset, ties=ties, flat=True)
    fused = Consensus(min_members=least, iou=iou).fuse(pool, sources=True)
    assert fused.corners is None
    assert oracle.listed(fused) == oracle.expected(cells, lambda boxes: oracle.consensus(boxes, least, iou))


def test_boxes_that_too_few_members_support_go():
    a = table("a", [[0.1, 0, 4, 4], [20, 20, 4, 4], [20, 20, 4, 4.5]], [0.5, 0.9, 0.8])
    b = table("b", [[0, 0, 4, 4.5]], [0.4])
    fused, sources = trace(Consensus(), [a, b])
    assert fused.xywh.tolist() == [[0.1, 0, 4, 4]]
    assert fused.score.tolist() == [0.5]
    assert fused.column("votes").tolist() == [2]
    assert fused.member.to_pylist() == ["a"]
    assert sources.row.tolist() == [0, 3]
    assert len(consensus([a, b], min_members=1)) == 2
    assert len(consensus([a, b], min_members=3)) == 0


def test_scores_need_not_be_probabilities():
    fused = consensus([table("a", [[0, 0, 4, 4]], [-7.5]), table("b", [[0, 0, 4, 4]], [-3.0])])
    assert fused.score.tolist() == [-3.0]


def test_empty_tables_give_an_empty_table():
    assert len(consensus([table("a", [], []), table("b", [], [])])) == 0


@pytest.mark.parametrize("options", [{"min_members": 0}, {"min_members": 1.5}, {"iou": -1}])
def test_bad_options_are_named(options):
    with pytest.raises(InputError, match=f"option {next(iter(options))}"):
        consensus(table("a", [[0, 0, 4, 4]], [0.5]), **options)

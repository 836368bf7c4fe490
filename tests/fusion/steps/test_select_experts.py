import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import select_experts
from fusion.errors import InputError
from fusion.pool import pool_tables
from fusion.steps.select_experts import SelectExperts
from fusion.table import DetectionTable
from tests.oracles import experts as oracle


def table(rows, member):
    columns = list(zip(*rows, strict=True)) or [()] * 4
    return DetectionTable.from_arrays(
        image_id=columns[0],
        category_id=columns[1],
        score=columns[3],
        xywh=np.array([[box, 0, 1, 1] for box in columns[2]], float).reshape(-1, 4),
    ).with_metadata(member=member)


ROW = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(0, 2), st.sampled_from([0.0, 0.0625, 0.125]))
NAMES = {1: "e1", 2: "e2"}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(ROW, max_size=8),
    st.lists(ROW, max_size=8),
    st.lists(ROW, max_size=8),
    st.sets(st.integers(1, 5)),
    st.sets(st.integers(1, 5)),
    st.sampled_from(["take", "add", "weigh"]),
    st.booleans(),
)
def test_equals_the_plain_definition(base, one, two, first, second, mode, gate):
    rows = [sorted(part, key=lambda row: row[0]) for part in (base, one, two)]
    categories = {1: sorted(first), 2: sorted(second)}
    weights = {1: 0.5, 2: {category: category / 2 - 0.5 for category in range(1, 6)}} if mode == "weigh" else {}
    flat = [(number, *row) for number, part in enumerate(rows) for row in part]
    expected = oracle.select(flat, categories, mode, weights, gate)
    pool = pool_tables([table(part, name) for part, name in zip(rows, ("base", "e1", "e2"), strict=True)])
    step = SelectExperts(
        categories={NAMES[k]: v for k, v in categories.items()},
        mode=mode,
        weights={NAMES[k]: v for k, v in weights.items()},
        gate=gate,
    )
    answer = step.fuse(pool)
    assert list(zip(answer.row.tolist(), answer.score.tolist(), strict=True)) == expected


BASE = table([(1, 1, 0, 0.5), (1, 2, 1, 0.6), (2, 3, 0, 0.7)], "base")
EXPERT = table([(1, 2, 1, 0.3), (1, 2, 5, 0.4), (1, 3, 5, 0.3), (2, 1, 0, 0.9)], "expert")


def test_take_add_weigh():
    given = {"expert": [2]}
    taken = select_experts([BASE, EXPERT], categories=given)
    assert taken.score.tolist() == [0.5, 0.3, 0.4, 0.7]
    assert taken.member.to_pylist() == ["base", "expert", "expert", "base"]
    assert select_experts([BASE, EXPERT], categories=given, mode="add").score.tolist() == [0.5, 0.6, 0.3, 0.4, 0.7]
    weighed = select_experts([BASE, EXPERT], categories=given, mode="weigh", weights={"expert": 2.0})
    assert weighed.score.tolist() == [0.5, 0.6, 0.6, 0.8, 0.7]


def test_gate_looks_at_whole_regions():
    gated = select_experts([BASE, EXPERT], categories={"expert": [2]}, gate=True)
    # alone .3 is less than the background .7; .4 and .3 leave .3
    assert gated.score.tolist() == [0.5, 0.4, 0.7]


def test_none_given_and_empty():
    assert select_experts([BASE, EXPERT], categories={"expert": []}).score.tolist() == BASE.score.tolist()
    assert select_experts([BASE, EXPERT], categories={"expert": []}, mode="weigh").score.tolist() == [0.5, 0.6, 0.7]
    assert select_experts(BASE, categories={}, gate=True).score.tolist() == BASE.score.tolist()
    none = table([], "expert")
    assert select_experts([BASE, none], categories={"expert": [1, 2]}, gate=True).score.tolist() == [0.7]
    assert len(select_experts([table([], "base"), none], categories={"expert": [1]}, gate=True)) == 0


def test_bad_input():
    with pytest.raises(InputError, match=r"categories for expert 'x'; the inputs are base 'base' and experts 'expert'"):
        select_experts([BASE, EXPERT], categories={"expert": [1], "x": [2]})
    with pytest.raises(InputError, match=r"'expert' has none; the inputs are"):
        select_experts([BASE, EXPERT], categories={})
    with pytest.raises(InputError, match=r"categories for expert 'base'"):
        select_experts([BASE, EXPERT], categories={"base": [1], "expert": [1]})
    with pytest.raises(InputError, match=r"mode: expected one of take, add, weigh"):
        SelectExperts(categories={}, mode="mix")
    with pytest.raises(InputError, match=r"option categories.a: expected a list of whole numbers, got 3"):
        SelectExperts(categories={"a": 3})
    with pytest.raises(InputError, match=r"mode weigh needs weights"):
        SelectExperts(categories={"expert": [1]}, mode="weigh")
    with pytest.raises(InputError, match=r"mode take takes no weights"):
        SelectExperts(categories={"expert": [1]}, weights={"expert": 1})
    with pytest.raises(InputError, match=r"weights: there is none for expert 'expert'"):
        select_experts([BASE, EXPERT], categories={"expert": [1]}, mode="weigh", weights={"other": 1})
    with pytest.raises(InputError, match=r"weights of expert expert: there is none for category 2"):
        select_experts([BASE, EXPERT], categories={"expert": [1, 2]}, mode="weigh", weights={"expert": {1: 1}})
    with pytest.raises(InputError, match=r"weights.expert.1: expected a number of at least 0"):
        SelectExperts(categories={"expert": [1]}, mode="weigh", weights={"expert": {1: -1}})
    loud = table([(1, 1, 0, 0.8), (1, 2, 0, 0.9)], "expert")
    with pytest.raises(InputError, match=r"expert 'expert': the scores of a region sum to 1.7 .* no softmax"):
        select_experts([BASE, loud], categories={"expert": [1]}, gate=True)

import math

import numpy as np
import pytest

from fusion import reweight
from fusion.errors import InputError
from fusion.table import DetectionTable
from fusion.weights import BUILDERS, build_weights

AP = {"a": {1: 0.6, 2: 0.2, 3: math.nan}, "b": {1: 0.3, 2: 0.4, 3: math.nan}, "c": {1: 0.0, 2: 0.4, 3: math.nan}}


def table(member, category_id, score):
    n = len(score)
    return DetectionTable.from_arrays(
        image_id=[1] * n, category_id=category_id, score=score, xywh=np.ones((n, 4))
    ).with_metadata(member=member)


@pytest.mark.parametrize(
    ("builder", "options", "first", "second"),
    [
        ("ap_ratio", {}, [1, 0.5, 0], [0.5, 1, 1]),
        ("ap_ratio", {"power": 2, "floor": 0.1}, [1, 0.25, 0.1], [0.25, 1, 1]),
        ("ap_share", {}, [2 / 3, 1 / 3, 0], [0.2, 0.4, 0.4]),
        ("rank_linear", {}, [1, 0.75, 0.5], [0.5, 1, 0.75]),
        ("rank_linear", {"t0": 0.0}, [1, 0.5, 0], [0, 1, 0.5]),
        ("top_r", {"r": 1}, [1, 0, 0], [0, 1, 0]),
        ("top_r", {"r": 2}, [1, 1, 0], [0, 1, 1]),
        ("uniform", {}, [1, 1, 1], [1, 1, 1]),
    ],
)
def test_builders(builder, options, first, second):
    weights = build_weights(AP, builder, **options)
    for number, member in enumerate("abc"):
        assert weights[member][1] == pytest.approx(first[number])
        assert weights[member][2] == pytest.approx(second[number])
        # a category without ground truth follows the member's mean
        assert weights[member][3] == pytest.approx((first[number] + second[number]) / 2)


@pytest.mark.parametrize("builder", BUILDERS)
def test_one_member_and_no_known_category(builder):
    assert build_weights({"a": {1: 0.4}}, builder) == {"a": {1: 1.0}}
    assert build_weights({"a": {1: math.nan}, "b": {1: 0.0}}, builder) == {"a": {1: 1.0}, "b": {1: 1.0}}
    assert build_weights({"a": {}}, builder) == {"a": {}}


def test_reweight_multiplies_and_drops_zero():
    tables = [table("a", [1, 2], [0.5, 0.8]), table("b", [1, 2], [0.4, 0.6])]
    fused = reweight(tables, weights={"a": {1: 0.5, 2: 0.0}, "b": 2})
    assert fused.member.to_pylist() == ["a", "b", "b"]
    assert fused.score.tolist() == [0.25, 0.8, 1.2]


def test_errors():
    tables = [table("a", [1], [0.5]), table("b", [1, 2], [0.4, 0.6])]
    with pytest.raises(InputError, match="none for member 'b'"):
        reweight(tables, weights={"a": 1.0})
    with pytest.raises(InputError, match="member b: there is none for category 2"):
        reweight(tables, weights={"a": 1.0, "b": {1: 1.0}})
    with pytest.raises(InputError, match=r"weights.a.1: expected a number of at least 0, got -1"):
        reweight(tables, weights={"a": {1: -1}, "b": 1.0})
    with pytest.raises(InputError, match="builder: expected one of"):
        build_weights(AP, "best")
    with pytest.raises(InputError, match="average precisions of b: category 2 is missing"):
        build_weights({"a": {1: 0.1, 2: 0.2}, "b": {1: 0.3}})

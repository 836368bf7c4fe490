"""Matrix suppression against the formula of the paper, box by box."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import matrix_nms
from fusion.errors import InputError
from fusion.steps.matrix_nms import MatrixNms
from fusion.table import DetectionTable
from tests.oracles import suppression as oracle


def plain(boxes, method, sigma, floor):
    """Row -> score, by the definition; boxes come best first."""

    def f(u):
        return 1 - u if method == "linear" else math.exp(-u * u / sigma)

    answer = {}
    for j, box in enumerate(boxes):
        factors = [1.0]
        for i in range(j):
            covered = max((oracle.iou(boxes[k], boxes[i]) for k in range(i)), default=0.0)
            if f(covered) > 0:
                factors.append(f(oracle.iou(boxes[i], box)) / f(covered))
        if box[4] * min(factors) >= floor:
            answer[box[6]] = box[4] * min(factors)
    return answer


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["linear", "gaussian"]),
    st.sampled_from([0.1, 0.5, 2.0]),
)
def test_equals_the_plain_definition(seed, size, ties, flat, method, sigma):
    pool, cells = oracle.scene(seed, size, ties=ties, flat=flat)
    # a floor of 0 drops nothing, as rounding at any other might
    fused = MatrixNms(method=method, sigma=sigma, floor=0.0).fuse(pool, sources=True)
    expected = {row: score for boxes in cells for row, score in plain(boxes, method, sigma, 0.0).items()}
    # the kernel takes the exponential of a difference, the definition divides two of them
    assert dict(zip(fused.row.tolist(), fused.score.tolist(), strict=True)) == pytest.approx(expected, rel=1e-9)
    entries = list(zip(fused.cell.tolist(), (-fused.score).tolist(), fused.row.tolist(), strict=True))
    assert entries == sorted(entries)
    assert fused.sources.row.tolist() == fused.row.tolist()


def test_known_numbers():
    """Three boxes side by side: the second covers the first and the third by a third, these two do not overlap."""
    table = DetectionTable.from_arrays(
        image_id=[1, 1, 1], category_id=[1, 1, 1], score=[0.9, 0.6, 0.3],
        xywh=[[0, 0, 2, 1], [1, 0, 2, 1], [2, 0, 2, 1]],
    )  # fmt: skip
    linear = matrix_nms(table, method="linear")
    assert linear.score.tolist() == pytest.approx([0.9, 0.6 * (2 / 3), 0.3])  # of the third: (2/3) / (2/3)
    gaussian = matrix_nms(table, sigma=0.5)
    assert gaussian.score.tolist() == pytest.approx([0.9, 0.6 * math.exp(-2 / 9), 0.3])
    assert len(matrix_nms(table, method="linear", floor=0.35)) == 2


def test_equal_boxes_leave_one():
    table = DetectionTable.from_arrays(
        image_id=[1] * 3, category_id=[1] * 3, score=[0.9, 0.8, 0.7], xywh=[[0, 0, 1, 1]] * 3
    )
    assert matrix_nms(table, method="linear").score.tolist() == [0.9]


@pytest.mark.parametrize("options", [{"method": "x"}, {"sigma": 0}, {"floor": -1}])
def test_errors(options):
    with pytest.raises(InputError, match=f"option {next(iter(options))}"):
        MatrixNms(**options)

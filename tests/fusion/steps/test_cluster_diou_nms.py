"""Suppression by Distance-IoU against the matrix iterations of Cluster-NMS."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fusion import cluster_diou_nms, nms
from fusion.errors import InputError
from fusion.steps.cluster_diou_nms import ClusterDiouNms
from fusion.table import DetectionTable
from tests.oracles import suppression as oracle


def diou(a, b):
    u = oracle.iou(a, b)
    if u == 0:
        return 0.0  # never above a threshold, with or without the distance
    apart = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    around = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    return u - apart / around


def cluster(boxes, threshold):
    """Rows that are left: X is the upper triangle of the criterion, C = diag(left) X, until nothing changes."""
    n = len(boxes)
    above = np.array([[i < j and diou(boxes[i], boxes[j]) > threshold for j in range(n)] for i in range(n)])
    left = np.ones(n, bool)
    while True:
        now = ~(left[:, None] & above).any(axis=0)
        if (now == left).all():
            return [box[6] for box, stays in zip(boxes, left, strict=True) if stays]
        left = now


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 60),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.1, 0.31, 0.5, 0.9, 1.0]),
)
def test_equals_cluster_nms(seed, size, ties, flat, iou):
    pool, cells = oracle.scene(seed, size, ties=ties, flat=flat)
    criteria = [diou(a, b) for boxes in cells for a in boxes for b in boxes if a is not b]
    assume(not any(u and math.isclose(u, iou, rel_tol=1e-12) for u in criteria))  # rounding would decide
    fused = ClusterDiouNms(iou=iou).fuse(pool, sources=True)
    assert fused.row.tolist() == [row for boxes in cells for row in cluster(boxes, iou)]
    assert sorted(fused.sources.row.tolist()) == list(range(size))
    score = {box[6]: box[4] for boxes in cells for box in boxes}
    assert fused.score.tolist() == [score[row] for row in fused.row.tolist()]


def test_boxes_that_suppress_one_another_through_a_third():
    """The second goes by the first, so the third, which only the second covers, stays."""
    table = DetectionTable.from_arrays(
        image_id=[1] * 3, category_id=[1] * 3, score=[0.9, 0.8, 0.7], xywh=[[x, 0, 10, 10] for x in (0, 2, 4)]
    )
    assert cluster_diou_nms(table, iou=0.5).score.tolist() == [0.9, 0.7]


def test_centres_that_are_apart_keep_a_box_that_iou_would_drop():
    table = DetectionTable.from_arrays(
        image_id=[1] * 2, category_id=[1] * 2, score=[0.9, 0.8], xywh=[[0, 0, 10, 1], [3, 0, 10, 1]]
    )
    assert len(nms(table, iou=0.5)) == 1  # IoU 7 / 13
    assert len(cluster_diou_nms(table, iou=0.5)) == 2  # less 9 / 170


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_boxes_of_any_size(scale):
    table = DetectionTable.from_arrays(
        image_id=[1] * 2, category_id=[1] * 2, score=[0.9, 0.8], xywh=np.array([[0, 0, 10, 10], [1, 0, 10, 10]]) * scale
    )
    assert len(cluster_diou_nms(table, iou=0.5)) == 1


def test_errors():
    with pytest.raises(InputError, match="option iou"):
        ClusterDiouNms(iou=1.5)

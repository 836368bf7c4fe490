"""Anchors by k-means."""

import re

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from evaluation.ground_truth import GroundTruth
from fusion.errors import InputError
from zoo.anchors import PRESETS, AnchorGrid, cluster, overlaps, shapes_of


@pytest.mark.parametrize("seed", range(2))
def test_planted_clusters_are_recovered(seed):
    random = np.random.default_rng(seed)
    scales, ratios = np.array([8.0, 11.0, 15.0]), np.array([0.1, 0.5, 2.0, 7.0])
    counts = random.integers(40, 200, (3, 4))
    row, column = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices((3, 4)))
    noise = random.normal(0, 0.03, (2, len(row)))
    shapes = np.stack([scales[row] * (1 + noise[0]), np.log(ratios[column]) + noise[1]], axis=1)
    found = cluster(shapes, 3, 4)
    assert found.grid.scales == pytest.approx(scales, rel=0.02)
    assert found.grid.ratios == pytest.approx(ratios, rel=0.02)
    assert found.share == pytest.approx(counts / counts.sum(), abs=0.005)
    assert found.iou > overlaps(shapes, PRESETS["mmfruit18"]).max(axis=1).mean()


def test_overlaps_are_those_of_boxes_with_one_centre():
    grid = AnchorGrid(scales=(8.0, 12.0), ratios=(0.5, 3.0))
    shapes = np.array([[9.0, 0.3], [14.0, -1.2]])
    for shape, row in zip(shapes, overlaps(shapes, grid), strict=True):
        height, width = shape[0] * np.exp(shape[1] / 2), shape[0] * np.exp(-shape[1] / 2)
        anchors = [(8 * 0.5**0.5, 8 / 0.5**0.5), (8 * 3**0.5, 8 / 3**0.5)]
        anchors += [(12 * 0.5**0.5, 12 / 0.5**0.5), (12 * 3**0.5, 12 / 3**0.5)]
        for (h, w), found in zip(anchors, row, strict=True):
            inside = min(h, height) * min(w, width)
            assert found == pytest.approx(inside / (h * w + height * width - inside))


class One:
    """A data set of one ground truth, as far as shapes are asked of it."""

    def __init__(self, truth):
        self.truth, self.sizes = truth, np.array([[400, 800], [100, 100]])
        self.parts = [self]


def test_shapes_are_those_of_the_training_pictures():
    """At 800 x 1600 the first picture is scaled by 2, the second by 8."""
    truth = GroundTruth.from_arrays(
        image_id=[1, 2],
        width=[800, 100],
        height=[400, 100],
        category_id=[1],
        annotation_image_id=[1, 1, 2, 2],
        annotation_category_id=[1, 1, 1, 1],
        xywh=[[0, 0, 60, 240], [0, 0, 6, 6], [5, 5, 50, 50], [0, 0, 90, 90]],
        crowd=[False, False, False, True],
    )
    # sides 240, 12 and 400 pixels: of levels with strides 16, 4 and 32
    expected = np.array([[240 / 16, np.log(4)], [12 / 4, 0], [400 / 32, 0]])
    assert shapes_of(One(truth), 800, 1600, 10) == pytest.approx(expected)
    assert len(shapes_of(One(truth), 800, 1600, 2)) == 2
    with pytest.raises(InputError, match="4 anchors cannot be learned from 3 objects"):
        cluster(expected, 2, 2)


def test_the_command_prints_and_draws_them(run, tmp_path):
    picture = tmp_path / "anchors.svg"
    given = (
        "--data",
        "scenes:12,64,0,categories=4",
        "--anchor-scales",
        "2",
        "--anchor-ratios",
        "3",
        "--picture",
        picture,
    )
    code, out, err = run("zoo", "anchors", *given)
    assert code == 0, err
    assert "found here" in out
    assert "mmfruit18" in out
    settings = re.findall(r"rpn\.(?:scales|ratios)=\[([^]]*)\]", err.replace("\n", ""))
    assert [len(own.split(",")) for own in settings] == [2, 3]
    assert picture.read_text().count("<svg") == 1
    code, _, err = run("zoo", "anchors", "--data", "scenes:2,64,0", "--picture", tmp_path / "anchors.jpg")
    assert code != 0
    assert ".svg" in err

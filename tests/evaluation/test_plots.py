"""What results draw is what they measured: the drawn lines against plain versions."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.cbook import STEP_LOOKUP_MAP
from matplotlib.figure import Figure

from evaluation import Coco, OpenImages, evaluate
from evaluation.curves import mean_curve
from fusion.errors import InputError
from tests.search.members import make_members, make_truth

TRUTH = make_truth(5, images=40, categories=3, objects=200)
TABLE = make_members(5, 1, TRUTH)[0]
PROTOCOLS = [Coco(), OpenImages()]


@pytest.fixture
def axes():
    return Figure().subplots()


def line(axes, label):
    [found] = [one for one in axes.lines if str(one.get_label()).startswith(label)]
    return found.get_data()


def by_score(judged):
    """Precision, recall and F1 of the detections of at least each score."""
    rows = list(zip(judged.score.tolist(), judged.right.tolist(), judged.wrong.tolist(), strict=True))
    for least in sorted({score for score, _, _ in rows}, reverse=True):
        right = sum(r for score, r, _ in rows if score >= least)
        wrong = sum(w for score, _, w in rows if score >= least)
        objects = judged.objects.sum()
        yield least, right / (right + wrong), right / objects, 2 * right / (right + wrong + objects)


def test_precision_and_recall(axes):
    result = evaluate(TABLE, TRUTH)
    assert result.plot_pr(axes) is axes
    for label, iou in (("IoU .50", 0.5), ("IoU .75", 0.75), ("IoU mean", None)):
        x, y = line(axes, label)
        assert x.tolist() == np.linspace(0, 1, 101).tolist()
        assert y.tolist() == mean_curve(result, iou).tolist()
    assert y.mean() == pytest.approx(result.AP)
    assert axes.get_legend() is not None


def test_precision_and_recall_by_open_images(axes):
    result = evaluate(TABLE, TRUTH, OpenImages())
    x, y = line(result.plot_pr(axes), "all categories together")
    _, precision, recall, _ = zip(*by_score(result.judged), strict=True)
    np.testing.assert_allclose(x, recall)
    np.testing.assert_allclose(y, precision)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda one: one.name)
def test_figures_over_the_score(axes, protocol):
    result = evaluate(TABLE, TRUTH, protocol)
    result.plot_f1(axes)
    score, precision, recall, f1 = zip(*by_score(result.judged), strict=True)
    for label, values in (("F1", f1), ("precision", precision), ("recall", recall)):
        x, y = line(axes, label)
        assert x.tolist() == list(score)
        np.testing.assert_allclose(y, values)
    x, y = line(axes, "F1")
    drawn = STEP_LOOKUP_MAP[axes.lines[0].get_drawstyle()](x, y)
    assert drawn[:, 1].tolist() == [x[1], y[0]]  # what is kept at a score is kept down to the next one
    assert y.max() == pytest.approx(result.F1)
    assert x[np.argmax(y)] == result.threshold
    assert line(axes, "highest F1")[0] == [result.threshold] * 2


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda one: one.name)
def test_calibration(axes, protocol):
    result = evaluate(TABLE, TRUTH, protocol)
    result.plot_calibration(axes, bins=5)
    judged, expected, gap = result.judged, [], 0.0
    rows = list(zip(judged.score.tolist(), judged.right.tolist(), judged.wrong.tolist(), strict=True))
    for low in range(5):
        inside = [row for row in rows if min(int(row[0] * 5), 4) == low]
        total = sum(r + w for _, r, w in inside)
        if total:
            mean, share = sum(s * (r + w) for s, r, w in inside) / total, sum(r for _, r, _ in inside) / total
            expected.append((mean, share))
            gap += abs(mean - share) * total / sum(r + w for _, r, w in rows)
    np.testing.assert_allclose(np.transpose(line(axes, "precision")), expected)
    assert f"ECE {gap:.3f}" in axes.get_legend_handles_labels()[1][-1]
    assert line(axes, "score = precision")[1].tolist() == [0, 1]


def test_scores_that_are_no_probabilities(axes):
    table = TABLE.with_scores(3 * TABLE.score - 1)
    evaluate(table, TRUTH).plot_calibration(axes)
    assert axes.get_legend_handles_labels()[1] == ["precision"]
    assert axes.get_xlim() == (table.score.min(), table.score.max())


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda one: one.name)
def test_nothing_to_draw(protocol):
    result = evaluate(TABLE.select_images(np.array([-1])), TRUTH, protocol)
    for draw in (result.plot_pr, result.plot_f1, result.plot_calibration):
        assert len(draw(Figure().subplots()).lines) >= 1


def test_wrong_bins(axes):
    with pytest.raises(InputError, match="bins"):
        evaluate(TABLE, TRUTH).plot_calibration(axes, bins=0)


def test_new_axes_are_those_of_pyplot_and_matplotlib_is_loaded_then_only(tmp_path):
    code = """
import sys
from evaluation import evaluate
from tests.search.members import make_members, make_truth
truth = make_truth(5, images=4, categories=1, objects=9)
result = evaluate(make_members(5, 1, truth)[0], truth)
repr(result), result._repr_html_()
assert "matplotlib" not in sys.modules
axes = result.plot_pr()
from matplotlib import pyplot
assert pyplot.gca() is axes
axes.figure.savefig(sys.argv[1])
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, tmp_path / "pr.png"], cwd=root, check=True)
    assert (tmp_path / "pr.png").stat().st_size > 1000

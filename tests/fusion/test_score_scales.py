"""Members on unlike scales of scores are noted before they are fused, and others are not."""

from pathlib import Path

import numpy as np
import pytest

from fusion.coco_results import read_coco_results
from fusion.parts import fuse_files
from fusion.recipe import OUTPUT, Node, Recipe
from fusion.score_maps import ScoreMap
from fusion.score_scales import scale_notes, scales_of, unlike
from fusion.steps.calibrate import Calibrate
from fusion.steps.concat import Concat
from fusion.steps.nms import Nms
from fusion.steps.reweight import Reweight
from fusion.steps.soft_nms import SoftNms
from fusion.steps.wbf import Wbf
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata
from tests.fusion.steps.cases import STEPS

MVOR = Path(__file__).parents[3] / "shared" / "data" / "mvor"


def member(name, scale=lambda score: score, seed=0, images=40, cut=0.0):
    """Confidences as detectors have them: a few high ones per image, many low ones."""
    rng = np.random.default_rng(seed)
    n = images * 20
    score = rng.beta(0.5, 2.0, n)
    score[::20] = rng.beta(8.0, 2.0, images)
    keep = score >= cut
    return DetectionTable.from_arrays(
        image_id=np.repeat(np.arange(images), 20)[keep],
        category_id=np.ones(keep.sum(), int),
        score=np.asarray(scale(score[keep]), float),
        xywh=np.column_stack([rng.random((n, 2)) * 500, 20 + rng.random((n, 2)) * 50])[keep],
        metadata=Metadata(member=name),
    )


def logit(score):
    return np.log(score / (1 - score))


OTHERS = {
    "percent": (lambda score: 100 * score, "for b (the median)"),
    "bytes": (lambda score: np.round(255 * score), "for b (the median)"),
    "logits": (logit, "b has scores from"),
    "positive logits": (lambda score: np.maximum(logit(score), 0.01) + 1, "for b (the median)"),
    "a tenth": (lambda score: score / 10, "(the median), and 0.08"),
    "softmax over a thousand": (lambda score: score / 300, "(the median), and 0.00"),
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("step", [Wbf(), Nms(), SoftNms(), Concat(max_per_image=5)])
def test_unlike_scales_are_noted(kind, step):
    scale, words = OTHERS[kind]
    (note,) = scale_notes(Recipe.chain([step]), [member("a"), member("b", scale, 1), member("c", seed=2)])
    assert words in note
    assert f"are compared by {next(name for name in STEPS if STEPS[name] is type(step))}: " in note
    assert "quorum learn calibration" in note
    assert "--calibration calibration.toml" in note


@pytest.mark.parametrize("kind", OTHERS)
def test_what_brings_them_onto_one_scale_is_seen(kind):
    tables = [member("a"), member("b", OTHERS[kind][0], 1)]
    maps = {name: ScoreMap(kind="linear", score=[0.0, 1.0], value=[0.1, 0.9]) for name in "ab"}
    assert scale_notes(Recipe.chain([Calibrate(maps=maps), Wbf()]), tables) == ()
    assert scale_notes(Recipe.chain([Concat()]), tables) == ()  # compares nothing
    assert len(scale_notes(Recipe.chain([Concat(), Nms()]), tables)) == 1
    one_by_one = {name: Node(Nms(), (source,)) for name, source in (("x", "a"), ("y", "b"))}
    assert len(scale_notes(Recipe({**one_by_one, OUTPUT: Node(Wbf(), ("x", "y"))}), tables)) == 1
    assert scale_notes(Recipe({OUTPUT: Node(Nms(), ("b",))}), tables) == ()


def test_one_number_per_member_moves_its_scale():
    tables = [member("a"), member("b", lambda score: 100 * score, 1)]
    assert scale_notes(Recipe.chain([Reweight(weights={"a": 1.0, "b": 0.01}), Wbf()]), tables) == ()
    assert len(scale_notes(Recipe.chain([Reweight(weights={"a": 1.0, "b": 0.9}), Wbf()]), tables)) == 1


def test_one_image_is_enough_where_scores_are_no_probabilities():
    for kind, enough in (("percent", True), ("logits", True), ("a tenth", False)):
        tables = [member("a", images=1), member("b", OTHERS[kind][0], 1, images=1)]
        assert bool(scale_notes(Recipe.chain([Wbf()]), tables)) is enough


def test_members_of_a_concat_are_told_apart():
    percent = member("b", lambda score: 100 * score, 1)
    both = Recipe.chain([Concat()]).fuse([member("a"), percent]).with_metadata(member="both")
    assert set(scales_of(both)) == {"a", "b"}
    assert len(scale_notes(Recipe.chain([Nms()]), [both])) == 1


@pytest.mark.parametrize("seed", range(20))
def test_honest_members_are_not_noted(seed):
    """Cut at other scores, weaker, sharper, random, empty, with few images, or a little above 1."""
    rng = np.random.default_rng(seed)
    tables = [
        member("full", seed=seed),
        member("cut", seed=seed + 1, cut=0.6),
        member("weak", lambda score: 0.6 * score, seed + 2),
        member("sharp", lambda score: score**0.3, seed + 3),
        member("random", lambda score: rng.random(len(score)), seed + 4),
        member("constant", lambda score: np.ones(len(score)), seed + 5),
        member("above", lambda score: 1.09 * score, seed + 6),
        member("few", lambda score: score / 20, seed + 7, images=4),
        member("empty", seed=seed + 8).select_images([-1]),
    ]
    assert scale_notes(Recipe.chain([Wbf()]), tables) == ()


def test_real_members():
    """MVOR's six detectors: one has scores up to 495.7, and alphapose some above 1."""
    if not MVOR.exists():
        pytest.skip("the MVOR data is not there")
    tables = {}
    for path in sorted((MVOR / "detections_results").glob("*.json")):
        if "pose" in path.stem or "bbox" in path.stem:
            tables[path.stem] = read_coco_results(path, metadata=Metadata(member=path.stem))
    alike = [table for name, table in tables.items() if not name.startswith("rtpose")]
    assert len(alike) == 5
    assert scale_notes(Recipe.chain([Wbf()]), alike) == ()
    (note,) = scale_notes(Recipe.chain([Wbf()]), list(tables.values()))
    assert "238 for rtpose_bbox (the median)" in note


def test_every_step_says_whether_it_compares():
    silent = {name for name, step in STEPS.items() if getattr(step, "compares_scores", True) is False}
    assert silent >= {"calibrate", "expand_hierarchy", "reweight", "select_experts", "select_views", "support"}
    assert not Concat().compares_scores
    assert Concat(max_per_image=1).compares_scores


@pytest.mark.parametrize("parts", [None, 3])
def test_noted_before_the_work_and_in_the_report(tmp_path, parts):
    for table in (member("a"), member("b", lambda score: 100 * score, 1)):
        write_table(table, tmp_path / table.metadata.member, parts=parts)
    said = []

    def note(line):
        said.append(line)
        if "unlike" in line:
            assert not (tmp_path / "out").exists()

    inputs = [tmp_path / "a", tmp_path / "b"]
    report = fuse_files(Recipe.chain([Wbf()]), inputs, tmp_path / "out", note=note)
    assert tuple(said) == report.notes
    unlike_scales = [line for line in said if "unlike" in line]
    assert len(unlike_scales) == 1
    (above,) = (line for line in said if "above 1" in line)
    assert "as some of the inputs' are" in above
    (unknown,) = (line for line in said if "images behind" in line)
    assert unknown.startswith("a, b say nothing")
    calibrated = read_table(tmp_path / "a").with_metadata(made_by={"recipe": 'step = "calibrate"'})
    assert unlike(scales_of(calibrated) | scales_of(member("low", lambda score: score / 50))) is None


def test_scores_above_one_that_averaging_makes_are_noted(tmp_path):
    """Two boxes of a member of weight 2: ensemble_boxes counts each with it."""
    a = {"image_id": [1, 1], "category_id": [0, 0], "score": [1.0, 1.0], "xywh": [[0.1, 0.1, 0.1, 0.1]] * 2}
    b = {"image_id": [1], "category_id": [0], "score": [0.5], "xywh": [[0.3, 0.3, 0.1, 0.1]]}
    for name, rows in (("a", a), ("b", b)):
        write_table(DetectionTable.from_arrays(**rows, metadata=Metadata(member=name)), tmp_path / name)
    inputs, weights = [tmp_path / "a", tmp_path / "b"], {"a": 2.0, "b": 1.0}
    report = fuse_files(Recipe.chain([Wbf(weights=weights)]), inputs, tmp_path / "out")
    assert "1 scores are above 1, the largest 1.333, since each of a member's boxes counts" in report.notes[-1]
    np.testing.assert_allclose(read_table(tmp_path / "out").score, [4 / 3, 1 / 6], rtol=1e-6)
    bounded = Recipe.chain([Wbf(weights=weights, conf_type="box_and_model_avg")])
    assert not any("above 1" in line for line in fuse_files(bounded, inputs, tmp_path / "bounded").notes)
    np.testing.assert_allclose(read_table(tmp_path / "bounded").score, [2 / 3, 1 / 6], rtol=1e-6)

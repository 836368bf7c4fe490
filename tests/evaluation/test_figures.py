"""The list of figures: those of the official codes, ours against plain versions, and what is said of wrong names."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.cocoeval import COCOeval

from evaluation import Coco, Lvis, OpenImages, prepare
from evaluation.cli.figure_options import FigureOptions
from evaluation.figures import FIGURES, by_default, choose, figure_of, names_of
from evaluation.open_images import prepare_open_images
from evaluation.statistics import bootstrap
from fusion.errors import InputError, in_command_line
from tests.evaluation.cases import arrays, ground_truth, official, random_case
from tests.evaluation.open_images_cases import ground_truth as open_images_truth
from tests.evaluation.open_images_cases import random_images
from tests.evaluation.open_images_cases import table as open_images_table
from tests.evaluation.test_lvis import federated_case, lvis_truth
from tests.evaluation.test_lvis import known as known_results
from tests.evaluation.test_lvis import official as lvis_official
from tests.oracles import open_images as open_images_oracle
from tests.oracles.figures import SHAPES, at_score, entries_of, objects_of, reshaped, shape_area
from tests.oracles.resampling import copied

SEEDS = st.integers(0, 100_000)
AT_SCORE = ("P", "R", "F1", "threshold")


def measured(dataset, results, protocol=None):
    truth = ground_truth(dataset) if not isinstance(protocol, Lvis) else lvis_truth(dataset)
    return prepare(truth, protocol or Coco()).evaluate_arrays(**arrays(results))


def lvis_result(seed):
    dataset, results = federated_case(seed, images=6, categories=6, truths=60, results=300)
    return measured(dataset, results, Lvis())


def open_images_result(seed, weight=1.0, images=8):
    images = random_images(seed, images=images)
    truth, found = open_images_truth(images, 4), open_images_table(images)
    return images, prepare_open_images(truth, OpenImages(group_of_weight=weight)).evaluate(found)


def any_result(protocol):
    dataset, results = random_case(3, images=8, truths=60, results=300)
    results_of = {"coco": lambda: measured(dataset, results), "lvis": lambda: lvis_result(3)}
    return results_of.get(protocol, lambda: open_images_result(3)[1])()


def categories(result, *names):
    return result._per_category(result._columns(names))


def known(value):
    return np.nan if value == -1 else value


def mean(values):
    """Of one replicate: over the categories that have a value."""
    there = values[~np.isnan(values)] if np.ndim(values) else values
    return there.mean() if np.size(there) else np.nan


@pytest.mark.parametrize("protocol", ["coco", "lvis", "openimages"])
class TestEveryFigure:
    """What holds of any entry of the list; a new one is tested by being listed."""

    def test_it_is_found_by_its_name_and_is_an_attribute(self, protocol):
        result = any_result(protocol)
        for name, value in result.figures(names_of(result.protocol)).items():
            figure = figure_of(name)
            assert figure.title
            if name not in ("AR", "recall"):  # these are the recalls of all caps, and of all categories
                assert getattr(result, name) == value or value != value

    def test_replicates_of_the_data_set_itself_are_what_was_observed(self, protocol):
        result = any_result(protocol)
        names = names_of(result.protocol)
        weights = np.ones((2, result.images), int)
        drawn = result.resample(weights, names)
        assert set(names) - set(drawn) <= {"threshold"}
        for name, values in drawn.items():
            np.testing.assert_allclose(mean(values[1]), known(result.figures([name])[name]), atol=1e-13, err_msg=name)

    def test_it_is_printed_and_written(self, protocol):
        result = any_result(protocol)
        names = names_of(result.protocol)
        assert [row[0] for row in result.to_table(names).rows] == list(names)
        plain = json.loads(json.dumps(result.to_dict(names), allow_nan=False))
        assert set(names) <= set(plain)
        columns = set(result.to_frame(names).columns)
        assert set(names) - columns <= {"APr", "APc", "APf", "threshold"}
        assert {"AP", "F1"} <= set(plain["per_category"][0]) & columns
        assert set(result.to_table(names, per_category=True).heads) >= columns - {"frequency"}

    def test_it_has_an_interval_or_none(self, protocol):
        result = any_result(protocol)
        names = names_of(result.protocol)
        entry = bootstrap(result, replicates=20, figures=names)
        assert set(entry.observed) == set(names)
        assert set(names) - set(entry.intervals) <= {"threshold"}

    def test_what_is_shown_by_default_is_there(self, protocol):
        result = any_result(protocol)
        for place in ("stats", "categories", "entries", "steps", "summary"):
            names = by_default(result.protocol, place)
            assert names[0] == "AP"
            assert set(names) <= set(names_of(result.protocol))


def test_the_documentation_lists_them():
    page = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text(encoding="utf-8")
    for figure in FIGURES:
        row = f"| `{figure.name.format(cap=10)}` | {figure.title} | {', '.join(figure.protocols)} |"
        assert row in page, f"docs/evaluate.md lacks: {row}"


def test_no_two_figures_of_a_protocol_share_a_name():
    for protocol in (Coco(), Lvis(), OpenImages()):
        names = names_of(protocol)
        assert len(set(names)) == len(names)
        assert all(figure.protocols for figure in FIGURES)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, truths=st.integers(0, 60))
def test_ap_by_shape_equals_pycocotools_with_shapes_for_areas(seed, truths):
    dataset, results = random_case(seed, truths=truths, results=200)
    results = [row for row in results if row["bbox"][2] or row["bbox"][3]]  # a point is of every shape
    annotations = [row for row in dataset["annotations"] if row["bbox"][2] or row["bbox"][3]]
    dataset = {**dataset, "annotations": annotations}
    run = official(reshaped(dataset), results)
    run = COCOeval(run.cocoGt, run.cocoDt, "bbox")
    for row in run.cocoDt.dataset["annotations"]:
        row["area"] = shape_area(row["bbox"])
    run.params.areaRng = SHAPES
    run.evaluate()
    run.accumulate()
    result = measured(dataset, results)
    for place, name in enumerate(("APtall", "APsquare", "APwide"), 1):
        precision = run.eval["precision"][:, :, :, place, -1]
        wanted = precision[precision > -1].mean() if (precision > -1).any() else -1.0
        assert getattr(result, name) == wanted


def test_a_box_on_the_bound_is_of_both_shapes():
    box = {"image_id": 1, "category_id": 1, "bbox": [3.3, 1.1, 20.0, 30.0]}
    dataset = {
        "images": [{"id": 1, "height": 99, "width": 99}],
        "categories": [{"id": 1, "name": "one"}],
        "annotations": [{**box, "id": 1, "area": 600.0, "iscrowd": 0}],
    }
    result = measured(dataset, [{**box, "score": 0.5}])
    assert (result.APtall, result.APsquare, result.APwide) == (pytest.approx(1), pytest.approx(1), -1)


def test_lvis_ignores_by_shape_what_it_ignores_anyway():
    result = lvis_result(5)
    matches, truth, _ = result.matches_in(figure_of("APtall").measure.ranges)
    ignored = (result.truth.outside & 1).astype(bool)
    assert np.all(truth.outside[ignored] == 0b111)
    assert matches.positives.sum(axis=1).min() >= 0
    assert (matches.positives.sum(axis=1) >= result.prepared.positives[:, 0]).all()  # bounds belong to both sides


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, truths=st.integers(0, 50), found=st.integers(0, 200), score=st.floats(-1.5, 2.5))
def test_precision_recall_and_f1_equal_a_plain_count(seed, truths, found, score):
    dataset, results = random_case(seed, truths=truths, results=max(found, 1))
    run = official(dataset, results)
    entries = [(value, right, 1 - right) for _, value, right in entries_of(run)]
    objects = objects_of(run)
    result = measured(dataset, results)
    names = [f"{name}@{score!r}" for name in AT_SCORE[:3]]
    wanted = (*at_score(entries, len(objects)), *at_score(entries, len(objects), score)[:3])
    for name, value in zip((*AT_SCORE, *names), wanted, strict=True):
        ours = result.figures([name])[name]
        np.testing.assert_allclose(ours if name == "threshold" else known(ours), value, rtol=1e-14, err_msg=name)
    best = result.figures(["threshold"])["threshold"]
    for row in categories(result, "P", "R", "F1"):
        own = [(value, right, 1 - right) for k, value, right in entries_of(run) if k == row.category_id]
        shown = at_score(own, objects.count(row.category_id), best if best == best else np.inf)
        np.testing.assert_allclose([row.P, row.R, row.F1], shown[:3], rtol=1e-14)


@pytest.mark.parametrize("seed", range(8))
def test_precision_recall_and_f1_by_lvis_equal_a_plain_count(seed):
    dataset, results = federated_case(seed, images=6, categories=6, truths=60, results=300)
    run = lvis_official(dataset, known_results(results, dataset))
    cells = [cell for cell in run.eval_imgs if cell is not None and cell["area_rng"] == run.params.area_rng[0]]
    entries = [
        (score, float(match > 0), float(match <= 0))
        for cell in cells
        for score, match, ignored in zip(cell["dt_scores"], cell["dt_matches"][0], cell["dt_ignore"][0], strict=True)
        if not ignored
    ]
    objects = sum(not ignored for cell in cells for ignored in cell["gt_ignore"])
    result = measured(dataset, known_results(results, dataset), Lvis())
    for name, value in zip(AT_SCORE, at_score(entries, objects), strict=True):
        np.testing.assert_allclose(result.figures([name])[name], value, rtol=1e-14, err_msg=name)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, images=st.integers(1, 6), most=st.integers(1, 4), truths=st.integers(0, 40))
def test_replicates_equal_copied_images(seed, images, most, truths):
    dataset, results = random_case(seed, images=images, truths=truths, results=120)
    weights = np.random.default_rng(seed).integers(0, most + 1, (3, images))
    names = ("APtall", "APwide", "AP75", "AR1", "AR10", "AR100", "ARs", "ARl", "P", "R", "F1", "F1@0.5", "P@0.5", "R@2")
    drawn = measured(dataset, results).resample(weights, names)
    assert list(drawn) == list(names)
    for b, counts in enumerate(weights):
        again = measured(*copied(dataset, results, counts))
        for name, values in drawn.items():
            wanted = known(again.figures([name])[name])
            if values.ndim > 1:
                column = [getattr(row, name) for row in categories(again, name)]
                np.testing.assert_allclose(values[b], column, rtol=0, atol=1e-13, err_msg=name)
            np.testing.assert_allclose(mean(values[b]), wanted, rtol=0, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("seed", range(4))
def test_lvis_replicates_equal_copied_images(seed):
    dataset, results = federated_case(seed, images=5, truths=50, results=200)
    weights = np.random.default_rng(seed).integers(0, 4, (4, 5))
    protocol = Lvis(max_dets=20)
    names = ("AR20", "ARm", "APsquare", "APr", "APf", "F1", "R")
    drawn = measured(dataset, results, protocol).resample(weights, names)
    for b, counts in enumerate(weights):
        again = measured(*copied(dataset, results, counts), protocol)
        for name, values in drawn.items():
            np.testing.assert_allclose(mean(values[b]), known(again.figures([name])[name]), atol=1e-13, err_msg=name)


@pytest.mark.parametrize("weight", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("seed", range(6))
def test_open_images_counts_regions_by_their_weight(seed, weight):
    images, result = open_images_result(seed, weight)
    entries, objects, recalls = [], 0.0, []
    for category in range(4):
        own = []
        positives = 0.0
        for image in images:
            truths = [t for t in image["truths"] if t["category"] == category]
            positives += sum(weight if t["group"] else 1.0 for t in truths)
            if category in image["verified"] or truths:
                found = [d for d in image["found"] if d["category"] == category and open_images_oracle.usable(d, False)]
                rules = {"threshold": 0.5, "weight": weight, "masks": False, "cap": 10_000}
                own += open_images_oracle.cell(found, truths, order=open_images_oracle.by_score, **rules)
        entries += [(score, label, float(label <= 0)) for score, label in own]
        objects += positives
        recalls += [sum(label for _, label in own) / positives] if positives else []
    wanted = dict(zip(AT_SCORE, at_score(entries, objects), strict=True)) | {"recall": np.mean(recalls)}
    for name, value in wanted.items():
        np.testing.assert_allclose(result.figures([name])[name], value, rtol=1e-12, err_msg=name)
    weights = np.random.default_rng(seed).integers(0, 3, (3, len(images)))
    weights[0] = 1
    drawn = result.resample(weights, ("F1", "recall", "P@0.5"))
    assert drawn["F1"][0] == pytest.approx(wanted["F1"])
    assert np.nanmean(drawn["recall"][0]) == pytest.approx(wanted["recall"])


class TestNames:
    def test_an_unknown_one_is_answered_with_those_that_there_are(self):
        for protocol, missing in ((Coco(), "APr"), (Lvis(), "AR100"), (OpenImages(), "AP50"), (Coco(), "F1@x")):
            with pytest.raises(InputError) as error, in_command_line():
                choose(("AP", missing), protocol)
            text = str(error.value)
            assert text.startswith(f"option --figures: expected figures of --protocol {protocol.name}, got '{missing}'")
            assert all(name in text for name in names_of(protocol))

    def test_caps_have_names(self):
        assert "AR7" in names_of(Coco(max_dets=(7, 70)))
        assert [figure.name for figure in choose(("AR7", "AR70"), Coco(max_dets=(7, 70)))] == ["AR7", "AR70"]

    def test_a_score_changes_what_goes_by_the_best_one(self):
        assert FigureOptions(figures="AP,F1, P,threshold", score=0.25).names(Coco(), "stats") == (
            "AP", "F1@0.25", "P@0.25",
        )  # fmt: skip
        alone = FigureOptions(score=0.25).names(Coco(), "entries")
        assert alone == (*by_default(Coco(), "entries"), "F1@0.25", "P@0.25", "R@0.25")
        assert FigureOptions().names(Coco(), "stats") is None

    def test_a_score_that_nothing_goes_by(self):
        with pytest.raises(InputError, match="goes with F1, P or R"):
            FigureOptions(figures="AP,AP50", score=0.5).names(Coco(), "stats")
        with pytest.raises(InputError, match="expected a number, got nan"):
            FigureOptions(figures="F1", score=float("nan")).names(Coco(), "stats")
        with pytest.raises(InputError, match="got none"):
            FigureOptions(figures=" , ").names(Coco(), "stats")

    def test_attributes_that_are_no_figures(self):
        result = any_result("coco")
        for name in ("AP51", "recalls", "F1@x", "_AP"):
            with pytest.raises(AttributeError, match="has no attribute"):
                getattr(result, name)
        with pytest.raises(AttributeError):
            any_result("openimages").AP50  # noqa: B018

"""The analysis by the Open Images protocol: AP is the official one, and costs are those of tables put right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import OpenImages, prepare
from evaluation.analysis.errors import MAIN_ERRORS
from evaluation.analysis.open_images import _kinds, _one_each, beside
from evaluation.analysis.table_analysis import analyze_table
from evaluation.cli.analyze import analyze
from evaluation.kernels.open_images import FALSE, TRUE
from fusion.errors import InputError
from fusion.storage import write_table
from tests.evaluation import open_images_cases as cases

K = 4
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_constants':DeprecationWarning")


def plain_case(seed, **options):
    """Images without two equal boxes of objects, every category verified, and what is made of them."""
    images = cases.random_images(seed, images=6, categories=K, grid=False, **options)
    for image in images:
        boxes = {}
        for row in image["truths"]:
            boxes.setdefault(row["box"], row)
        image["truths"] = list(boxes.values())
        image["verified"] = set(range(K))
    return images, prepare(cases.ground_truth(images, K), OpenImages()), cases.table(images)


def ap_of(images, ready):
    return prepare(cases.ground_truth(images, K), ready.protocol).evaluate(cases.table(images)).AP


def box_iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def kind_of(row, objects, found):
    """The kind of a wrong detection, by the definition; `found` are the objects that were found."""
    own = [(box_iou(row["box"], t["box"]), n) for n, t in enumerate(objects) if t["category"] == row["category"]]
    other = [box_iou(row["box"], t["box"]) for t in objects if t["category"] != row["category"]]
    iou, place = max(own, default=(0.0, -1))
    if not objects:
        return "Bkg"
    if iou >= 0.5 and place in found:
        return "Dupe"
    if iou >= 0.1:
        return "Loc"
    if max(other, default=0.0) >= 0.5:
        return "Cls"
    return "Bkg" if max(other, default=0.0) < 0.1 else "Both"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_kinds_by_the_definition(seed):
    images, ready, table = plain_case(seed)
    result = ready.evaluate(table)
    outcome = result.outcomes.outcome
    expected = dict.fromkeys(MAIN_ERRORS, 0)
    row = 0
    for image in images:
        objects = [t for t in image["truths"] if not t["group"]]
        found = set()
        for n, d in enumerate(image["found"]):
            if outcome[row + n] == TRUE:
                own = [
                    (box_iou(d["box"], t["box"]), m) for m, t in enumerate(objects) if t["category"] == d["category"]
                ]
                found.add(max(own)[1])
        for n, d in enumerate(image["found"]):
            if outcome[row + n] == FALSE:
                expected[kind_of(d, objects, found)] += 1
        row += len(image["found"])
    counts = analyze_table(table, ready).errors.counts
    assert {name: counts[name] for name in list(MAIN_ERRORS)[:-1]} == {
        name: expected[name] for name in list(MAIN_ERRORS)[:-1]
    }


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_costs_are_those_of_tables_put_right(seed):
    images, ready, table = plain_case(seed, ties=False)
    result = ready.evaluate(table)
    errors = analyze_table(table, ready).errors
    if np.isnan(result.AP):
        assert errors.AP == 0
        return
    assert errors.AP == result.AP
    found = beside(table, ready, result, 0.1)
    truth, outcomes = found.overlaps.truth, result.outcomes
    used = np.zeros(len(truth.category), bool)
    used[found.assigned.truth[found.assigned.truth >= 0]] = True
    kinds = _kinds(found, outcomes, used, 0.5)
    corners = np.stack([truth.x1, truth.y1, truth.x2, truth.y2], axis=1)
    for number, name in enumerate(list(MAIN_ERRORS)[:-1]):
        rows = np.flatnonzero(kinds == number)
        target = {"Loc": found.own, "Cls": found.other}.get(name, np.full(len(kinds), -1))
        moved = set(_one_each(rows, target, used, outcomes.score).tolist())
        right, place = [], 0
        for image in images:
            kept = []
            for n, d in enumerate(image["found"], place):
                if n in moved:
                    g = target[n]
                    kept.append({**d, "box": tuple(corners[g].tolist()), "category": int(truth.category[g])})
                elif n not in rows:
                    kept.append(d)
            place += len(image["found"])
            right.append({**image, "found": kept})
        # detections that are put right come first, as nothing else may find their object
        assert errors.costs[name] == pytest.approx(max(ap_of(right, ready) - result.AP, 0), abs=1e-12), name
    nothing_wrong, place = [], 0
    for image in images:
        ends = place + len(image["found"])
        rows = zip(range(place, ends), image["found"], strict=True)
        nothing_wrong.append({**image, "found": [d for n, d in rows if outcomes.outcome[n] != FALSE]})
        place = ends
    assert errors.costs["FalsePos"] == pytest.approx(ap_of(nothing_wrong, ready) - result.AP, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_missed_objects_do_not_count(seed):
    images, ready, table = plain_case(seed, ties=False)
    result = ready.evaluate(table)
    if np.isnan(result.AP):
        return
    found = beside(table, ready, result, 0.1)
    truth = found.overlaps.truth
    reach = set(found.assigned.truth[found.assigned.truth >= 0].tolist())
    used = np.zeros(len(truth.category), bool)
    used[list(reach)] = True
    kinds = _kinds(found, result.outcomes, used, 0.5)
    names = list(MAIN_ERRORS)
    reach |= set(found.own[kinds == names.index("Loc")].tolist())
    reach |= set(found.other[kinds == names.index("Cls")].tolist())
    # where each object stands in the images as they were made
    missed = {
        int(found.overlaps.source[g]) for g in range(len(truth.category)) if g not in reach and not truth.crowd[g]
    }
    rest, place = [], 0
    for image in images:
        rows = zip(range(place, place + len(image["truths"])), image["truths"], strict=True)
        rest.append({**image, "truths": [t for n, t in rows if n not in missed]})
        place += len(image["truths"])
    errors = analyze_table(table, ready).errors
    assert errors.counts["Miss"] == len(missed)
    assert errors.costs["Miss"] == pytest.approx(max(ap_of(rest, ready) - result.AP, 0), abs=1e-12)


@pytest.mark.parametrize("masks", [False, True])
def test_figures_are_the_official_ones(masks):
    images = cases.random_images(7, images=30, categories=K, masks=masks)
    protocol = OpenImages(iou_type="segm" if masks else "bbox")
    ready = prepare(cases.ground_truth(images, K, masks=masks), protocol)
    table = cases.table(images, masks=masks)
    analysis = analyze_table(table, ready)
    result = ready.evaluate(table)
    assert analysis.result.AP == analysis.errors.AP == result.AP
    assert (analysis.best.f1, analysis.best.score) == (result.F1, result.threshold)
    assert analysis.calibration.detections.sum() <= result.detections.sum()
    objects = sum(not t["group"] for image in images for t in image["truths"])
    assert analysis.sizes["objects"].sum() == objects
    assert "Left out" in analysis.sentences()[-1]
    assert analysis.sentences()[0].startswith(f"AP {100 * result.AP:.1f}")


def test_what_is_not_verified_takes_no_part():
    images = cases.random_images(11, images=20, categories=K)
    ready = prepare(cases.ground_truth(images, K), OpenImages())
    table = cases.table(images)
    known = [
        row["category"] in image["verified"] | {t["category"] for t in image["truths"]}
        for image in images
        for row in image["found"]
    ]
    found = beside(table, ready, ready.evaluate(table), 0.1)
    assert ((found.overlaps.found.category >= 0) == known).all()
    assert not all(known)


def test_the_command(tmp_path, capsys):
    images = cases.random_images(3, images=20, categories=K, ties=False, grid=False)
    truth, table = cases.ground_truth(images, K), cases.table(images)
    names = {i + 1: f"/m/{i}" for i in range(K)}
    lines = ["ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf"]
    for row in range(len(truth)):
        x1, y1, x2, y2 = truth.corners[row].tolist()
        image, label = truth.image_id[truth.image[row]], names[int(truth.category_id[truth.category[row]])]
        lines.append(f"{image},{label},{x1!r},{x2!r},{y1!r},{y2!r},{int(truth.crowd[row])}")
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    write_table(table, tmp_path / "a.parquet")
    # without descriptions categories are numbered as the labels come
    paths = [tmp_path / "a.parquet"]
    out = tmp_path / "out"
    analyze(*paths, ground_truth=tmp_path / "boxes.csv", output=out, protocol="openimages")
    report = (out / "report.md").read_text()
    assert "Left out, as the Open Images protocol has nothing of the kind" in report
    for name in ("errors", "curves", "sizes", "calibration", "categories", "confusion"):
        assert (out / f"{name}.png").exists()
    write_table(table.with_metadata(member="b"), tmp_path / "b.parquet")
    analyze(
        *paths,
        tmp_path / "b.parquet",
        ground_truth=tmp_path / "boxes.csv",
        output=tmp_path / "two",
        protocol="openimages",
    )
    assert "left out for Open Images" in capsys.readouterr().err
    with pytest.raises(InputError, match="--iou"):
        analyze(*paths, ground_truth=tmp_path / "boxes.csv", output=tmp_path / "no", protocol="openimages", iou=0.7)

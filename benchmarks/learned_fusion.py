"""What corrections, calibrations and learned scores bring, step by step, on images that they were not learned on.

Real members (MVOR, YOLACT) where `../shared/data` is beside the checkout, and simulated ones. Each row is learned on
one part of the images and measured on the other; parts and folds keep groups of images together. Differences are
paired, in AP points over the best member, with 95 % intervals of the bootstrap over images.

    python -m benchmarks.learned_fusion mvor-days mvor-frames yolact simulated many
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.package_script import tuned_script
from benchmarks.published_fusions import alfa, dbf, prae
from evaluation.box_corrections import learn_box_correction
from evaluation.calibration import learn_calibration
from evaluation.coco_ground_truth import read_coco
from evaluation.comparison import compare
from evaluation.folds import folds_of
from evaluation.ground_truth import GroundTruth
from evaluation.prepared import prepare
from evaluation.protocol import Coco
from evaluation.score_models import learn_scores
from evaluation.statistics import bootstrap
from fusion.coco_results import read_coco_results
from fusion.recipe import Recipe
from fusion.run import apply
from fusion.steps.base import Step
from fusion.steps.calibrate import Calibrate
from fusion.steps.correct_boxes import CorrectBoxes
from fusion.steps.rescore import Rescore
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable, Metadata
from search.problem import pose
from search.seek import seek
from search.study import Settings
from zoo.synthetic.simulated import simulate
from zoo.synthetic.skills import Scenario, demo_members

_MOST = 4000
_NAIVE = 8  # ensembles that every search begins with
_SEARCHING = 0.6  # part of the time that trials may take, as in `quorum auto`

DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True, eq=False)
class Case:
    """Members, ground truth, which images are learned on, and the groups of images."""

    name: str
    tables: Sequence[DetectionTable]
    truth: GroundTruth
    learn: np.ndarray
    groups: np.ndarray | None


def main() -> None:
    """Measure the cases that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60.0, help="for a search")
    parser.add_argument("--only", default="", help="measure rows whose names have this in them")
    parser.add_argument("--package", type=float, default=60.0, help="seconds for the script with the public package")
    options = parser.parse_args()
    for name in options.cases:
        for case in CASES[name]():
            _measure(case, options)


def _measure(case: Case, options: argparse.Namespace) -> None:
    learn, verify = (case.truth.subset(case.truth.image_id[part]) for part in (case.learn, ~case.learn))
    groups = None if case.groups is None else case.groups[case.learn]
    seen, shown = ([table.select_images(part.image_id) for table in case.tables] for part in (learn, verify))
    known, asked = prepare(learn), prepare(verify)
    print(f"\n## {case.name}: learned on {len(learn.image_id):,} images, measured on {len(verify.image_id):,}\n")
    print("| what | AP | AP50 | AP75 | over the best member | s |\n|---|---|---|---|---|---|", flush=True)
    best = int(np.argmax([known.evaluate(table).AP for table in seen]))
    reference = bootstrap(asked.evaluate(shown[best]), replicates=500, drawn=("AP",))

    def row(name: str, fuse: Callable[[], DetectionTable]) -> None:
        if options.only not in name:
            return
        begin = time.process_time()
        result = asked.evaluate(fuse())
        seconds = time.process_time() - begin
        gain = compare(reference, bootstrap(result, replicates=500, drawn=("AP",))).figures["AP"]
        told = f"{100 * gain.value:+.2f} ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})"
        print(
            f"| {name} | {result.AP:.4f} | {result.AP50:.3f} | {result.AP75:.3f} | {told} | {seconds:.1f} |", flush=True
        )

    row(f"best member, {shown[best].metadata.member}", lambda: shown[best])
    row("WBF .55 of all, scores as they are", lambda: apply(Wbf(iou=0.55), shown))
    for fuse in (dbf, alfa, prae):
        row(fuse.__name__.upper(), lambda f=fuse: f(seen, shown, known))
    maps = _calibrated(seen, known, "mean_precision")
    row("ALFA, calibrated first", lambda: alfa(_each(maps, seen), _each(maps, shown), known))
    for target in ("expected_iou", "mean_precision"):
        row(f"WBF .75, calibrated to {target}", lambda t=target: _through(_calibrated(seen, known, t), shown))
    for form in ("constant", "size", "best"):
        row(f"+ boxes corrected, {form}", lambda f=form: _through(steps_before(seen, known, groups, f), shown))
    for kind in ("logistic", "boosting"):
        row(f"+ learned scores, {kind}", lambda k=kind: _stacked(seen, shown, known, groups, k))
    row("the same without correction", lambda: _stacked(seen, shown, known, groups, "best", correct=False))
    row("the first candidate", lambda: _searched(case, 0, treatment=None))
    row(f"search of {options.seconds:.0f} s", lambda: _searched(case, _MOST, None, options.seconds))
    row(f"search of {options.trials} trials, calibrated", lambda: _searched(case, options.trials, "calibrated"))
    row(f"search of {options.trials} trials, all learned", lambda: _searched(case, options.trials, None))
    if options.package > 0:
        row(
            f"ensemble_boxes tuned by Optuna, {options.package:.0f} s",
            lambda: tuned_script(seen, shown, learn, options.package),
        )


def _calibrated(seen: Sequence[DetectionTable], known, target: str) -> list[Step]:  # type: ignore[no-untyped-def]
    maps = {str(t.metadata.member): learn_calibration(t, known, target=target) for t in seen if len(t)}
    return [Calibrate(maps=maps)]


def _each(steps: list[Step], tables: Sequence[DetectionTable]) -> list[DetectionTable]:
    """Run steps on each member by itself."""
    for step in steps:
        tables = [apply(step, table) for table in tables]
    return list(tables)


def steps_before(seen, known, groups, form: str) -> list[Step]:  # type: ignore[no-untyped-def]
    """Learn corrections of a form and calibrations: the steps before a fusion."""
    truth = known.ground_truth
    folds = folds_of(truth, groups)
    own = {str(t.metadata.member): learn_box_correction(t, truth, form=form, groups=folds) for t in seen}
    return [CorrectBoxes(corrections=own), *_calibrated(seen, known, "mean_precision")]


def _through(steps: list[Step], tables: Sequence[DetectionTable]) -> DetectionTable:
    return Recipe.chain([*steps, Wbf(iou=0.75)]).fuse(tables)


def _stacked(seen, shown, known, groups, kind: str, *, correct: bool = True) -> DetectionTable:  # type: ignore[no-untyped-def]
    steps = steps_before(seen, known, groups, "best") if correct else _calibrated(seen, known, "mean_precision")
    learned, asked = (Recipe.chain(steps).fuse(tables) for tables in (seen, shown))
    model = learn_scores(apply(Wbf(iou=0.75), [learned]), [learned], known, kind=kind, groups=groups).model
    return apply(Rescore(model=model), [apply(Wbf(iou=0.75), [asked]), asked])


def _searched(case: Case, trials: int, treatment: str | None, seconds: float = np.inf) -> DetectionTable:
    """Search with so many trials, none but members and naive ensembles for 0, or for so much CPU time in all."""
    begin = time.process_time()
    ids = case.truth.image_id
    splits = {"search": ids[case.learn], "verify": ids[~case.learn]}
    problem = pose(case.tables, case.truth, splits, Coco(), treatment=treatment, groups=case.groups)
    settings = Settings(budget=trials or len(problem.names) + _NAIVE)
    study, answer = seek(
        problem,
        settings,
        memory=1.0,
        scores=treatment is None,
        stop=lambda: "the time is over" if time.process_time() - begin > _SEARCHING * seconds else None,
    )
    scored = f"learned scores, {answer.stack.model.kind}" if answer.stack else "own scores"
    print(f"<!-- {problem.preparation.treatment}; {scored}; {len(study.trials)} trials -->", flush=True)
    return answer.recipe.fuse(problem.others[0].tables)


def _mvor() -> tuple[GroundTruth, list[DetectionTable]]:
    truth = read_coco(DATA / "mvor" / "annotations" / "camma_mvor_2018.json")
    files = sorted((DATA / "mvor" / "detections_results").glob("*.json"))
    return truth, [_read(path, truth) for path in files]


def _read(path: Path, truth: GroundTruth, unknown: str = "error") -> DetectionTable:
    about = Metadata(member=path.name.split(".")[0].removesuffix("_bbox"))
    return read_coco_results(path, vocabulary=truth.vocabulary, metadata=about, unknown_categories=unknown)


def mvor_days() -> Iterator[Case]:
    """Two days learned on, the other two measured, both ways."""
    truth, tables = _mvor()
    day = np.array([name.split("/")[0] for name in truth.file_name], object)
    for first in (("day1", "day2"), ("day3", "day4")):
        yield Case(f"MVOR, {' and '.join(first)}", tables, truth, np.isin(day, first), day)


def mvor_frames() -> Iterator[Case]:
    """The images of even rank learned on, those of odd rank measured; folds by day."""
    truth, tables = _mvor()
    day = np.array([name.split("/")[0] for name in truth.file_name], object)
    yield Case("MVOR, even ranks", tables, truth, np.arange(len(day)) % 2 == 0, day)


def mvor_few() -> Iterator[Case]:
    """So many images learned on, of the even ranks, evenly spread."""
    truth, tables = _mvor()
    day = np.array([name.split("/")[0] for name in truth.file_name], object)
    even = np.flatnonzero(np.arange(len(day)) % 2 == 0)
    odd = np.arange(len(day)) % 2 == 1
    for count in (50, 100, 200, 500, 1000):
        learn = np.zeros(len(day), bool)
        learn[even[np.linspace(0, len(even) - 1, count).astype(int)]] = True
        chosen = learn | odd
        part = truth.subset(truth.image_id[chosen])
        yield Case(
            f"MVOR, {count} images", [t.select_images(part.image_id) for t in tables], part, learn[chosen], day[chosen]
        )


def yolact() -> Iterator[Case]:
    """Persons of group A: half of the 100 pictures learned on, both ways."""
    truth = read_coco(DATA / "yolact" / "gt_person_boxes_groupA.json")
    tables = [
        _read(path, truth, "drop") for path in sorted((DATA / "yolact" / "group_a" / "coco_format").glob("*.json"))
    ]
    for first in (0, 1):
        learn = np.arange(len(truth.image_id)) % 2 == first
        yield Case(f"YOLACT, persons, half {first}", tables, truth, learn, None)


def _simulated(images: int, categories: int, members: int, seed: int, bias: float) -> Case:
    """Members with systematic errors of their boxes, a third of their whole error.

    The shift of each side of each member is drawn from a normal distribution with standard deviation `bias`, and grows
    or falls with the logarithm of the box's size by a third of that.
    """
    simulated = simulate(Scenario(images=images, categories=categories), demo_members(categories)[:members], seed)
    found, rng, tables = simulated.annotations, np.random.default_rng((seed, 9)), []
    truth = GroundTruth.from_arrays(
        image_id=np.arange(1, images + 1),
        category_id=np.arange(1, categories + 1),
        annotation_image_id=found.image_id,
        annotation_category_id=found.category_id,
        xywh=found.xywh,
        crowd=found.crowd,
        width=[640] * images,
        height=[480] * images,
    )
    for member in simulated.members:
        table = member.table()
        x, y, w, h = table.xywh.T
        shift = rng.normal(0, bias, 4) + rng.normal(0, bias / 3, 4) * (np.log(np.maximum(w * h, 1)) / 2 - 4)[:, None]
        corners = np.stack([x, y, x + w, y + h], 1) + shift * np.stack([w, h, w, h], 1)
        corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)
        tables.append(
            DetectionTable.from_arrays(
                image_id=table.image_id,
                category_id=table.category_id,
                score=table.score,
                xyxy=corners,
                metadata=table.metadata,
            )
        )
    return Case(
        f"simulated, {members} members, {categories} categories", tables, truth, np.arange(images) % 2 == 0, None
    )


def simulated() -> Iterator[Case]:
    """Six members with systematic errors."""
    for seed in (0, 1):
        yield _simulated(1000, 8, 6, seed, 0.025)


def many() -> Iterator[Case]:
    """Twelve members and 80 categories, as on COCO."""
    yield _simulated(2000, 80, 12, 2, 0.02)


CASES: dict[str, Callable[[], Iterator[Case]]] = {
    "mvor-days": mvor_days,
    "mvor-frames": mvor_frames,
    "mvor-few": mvor_few,
    "yolact": yolact,
    "simulated": simulated,
    "many": many,
}

if __name__ == "__main__":
    main()

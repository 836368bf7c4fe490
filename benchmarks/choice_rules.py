"""Which trial of a search to take: what each rule's choice is worth on images that the search has not seen.

Rules choose among the best 20 trials by the search split alone: the best one; the simplest one that is at most half,
one or two standard errors behind it (`search.answer.choose` takes one); the best mean of five folds; the best worst
fold. Folds are compared by the difference to the mean of the 20 trials there.

    python -m benchmarks.choice_rules --seeds 0 1 2
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.learned_fusion import mvor_frames
from benchmarks.search_zoo import make_zoo
from evaluation.ground_truth import GroundTruth
from evaluation.prepared import prepare
from evaluation.protocol import Coco
from fusion.table import DetectionTable
from search.answer import choose, paired_error
from search.device import fusers_of
from search.engine import Engine
from search.evaluators import Serial
from search.genome import Genome
from search.journal import Trial
from search.problem import Problem, agreement, pose
from search.study import Settings, Study

_TOP = 20
_ERRORS = (0.0, 0.5, 1.0, 2.0)


def main() -> None:
    """Run the searches and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget", type=int, default=150)
    options = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    for seed in options.seeds:
        for name, tables, truth, learn in _cases(seed):
            print(f"<!-- {name}, seed {seed} -->", flush=True)
            for rule, value in _one(tables, truth, learn, options.budget, seed).items():
                found.setdefault(rule, {}).setdefault(name, []).append(value)
    names = list(next(iter(found.values())))
    print(f"| choice | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for rule, values in found.items():
        print(f"| {rule} | {' | '.join(f'{100 * np.mean(values[name]):.2f}' for name in names)} |")


def _cases(seed: int) -> Iterator[tuple[str, list[DetectionTable], GroundTruth, np.ndarray]]:
    for members, images, categories in ((6, 300, 8), (9, 600, 20)):
        truth, tables = make_zoo(seed, members, images, categories, 20.0)
        learn = np.random.default_rng((seed, 5)).permutation(images) < images // 2
        yield f"{members} members, {categories} categories, {images // 2} images", tables, truth, learn
    for case in mvor_frames():
        yield "MVOR, even ranks", list(case.tables), case.truth, case.learn


def _one(
    tables: list[DetectionTable], truth: GroundTruth, learn: np.ndarray, budget: int, seed: int
) -> dict[str, float]:
    """Search, and return the AP on the verify split of what each rule chooses."""
    splits = {"search": truth.image_id[learn], "verify": truth.image_id[~learn]}
    problem = pose(tables, truth, splits, Coco())
    study = Study(Settings(budget=budget, seed=seed), problem.search.category_ids, agreement(problem.search))
    fusers = fusers_of(problem)
    study.run(Serial(Engine(fusers, memory=1 << 29)))
    folds = _by_fold(problem, study.measured[:_TOP])
    chosen: dict[str, Trial] = {}
    for errors in _ERRORS:
        name = f"simplest within {errors:g} standard errors" if errors else "best"
        chosen[name] = choose(study, _scaled(problem, errors))
    chosen["best mean of five folds"] = study.measured[int(np.argmax(folds.mean(axis=1)))]
    chosen["best worst fold"] = study.measured[int(np.argmax(folds.min(axis=1)))]
    side, known = problem.others[0], dict[Genome, float]()
    for trial in chosen.values():
        if trial.genome not in known:
            known[trial.genome] = side.prepared.evaluate(problem.recipe(trial.genome).fuse(side.tables)).AP
    return {rule: known[trial.genome] for rule, trial in chosen.items()}


def _scaled(problem: Problem, errors: float) -> Callable[[Genome, Genome], float]:
    return lambda a, b: errors and errors * paired_error(problem, a, b)


def _by_fold(problem: Problem, trials: list[Trial]) -> np.ndarray:
    """Return float64 [trials, folds], the AP on each fold of the search split above the mean of the trials there."""
    truth = problem.search.truth
    parts = [truth.subset(truth.image_id[problem.fold == fold]) for fold in np.unique(problem.fold)]
    prepared = [prepare(part, problem.search.prepared.protocol) for part in parts]
    rows = []
    for trial in trials:
        fused = problem.fused(trial.genome)
        rows.append(
            [one.evaluate(fused.select_images(part.image_id)).AP for one, part in zip(prepared, parts, strict=True)]
        )
    values = np.array(rows)
    above: np.ndarray = values - values.mean(axis=0)
    return above


if __name__ == "__main__":
    main()

"""What the search finds: gains over naive ensembles and greedy selection on images it has not seen.

Simulated members (`benchmarks/search_zoo.py`), half of the images searched on, half to verify. Gains are paired
differences in AP points with 95 % intervals of the bootstrap over images.

    python -m benchmarks.search_quality --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.measure import memory_kilobytes
from benchmarks.search_zoo import make_zoo
from evaluation.comparison import Difference, compare
from evaluation.protocol import Coco
from evaluation.statistics import bootstrap
from fusion.recipe_toml import parse_recipe
from search.answer import choose, paired_error
from search.device import fusers_of
from search.engine import Engine
from search.evaluators import Serial
from search.genome import Genome, used_members
from search.problem import Problem, agreement, pose
from search.splits import matched_split, strata_of
from search.study import Settings, Study


def main() -> None:
    """Run the searches and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--members", type=int, default=12)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--modes", nargs="+", default=["hybrid", "two-stage"])
    parser.add_argument("--memory", type=float, default=2.0, help="GiB for kept results")
    options = parser.parse_args()
    for seed in options.seeds:
        _one(seed, options)


def _one(seed: int, options: argparse.Namespace) -> None:
    truth, tables = make_zoo(seed, options.members, options.images)
    part = matched_split(*strata_of(truth), [0.5, 0.5], seed=seed)
    splits = {name: truth.image_id[part == number] for number, name in enumerate(("search", "verify"))}
    problem = pose(tables, truth, splits, Coco())
    likeness = agreement(problem.search)
    chosen = {}
    print(f"seed {seed}: {options.members} members, {options.images} images, {options.budget} trials", flush=True)
    for mode in options.modes:
        begin = time.perf_counter()
        study = Study(Settings(mode=mode, budget=options.budget, seed=seed), problem.search.category_ids, likeness)
        fusers = fusers_of(problem)
        study.run(Serial(Engine(fusers, memory=int(options.memory * 2**30))))
        seconds = time.perf_counter() - begin
        trial = choose(study, lambda a, b: paired_error(problem, a, b))
        chosen[mode] = trial.genome
        _tell(problem, study, trial.genome, seconds)
    if len(chosen) == 2:
        a, b = chosen.values()
        print(f"  {' minus '.join(chosen)}, verify: {_shown(_gain(problem, 'verify', a, b))}", flush=True)


def _tell(problem: Problem, study: Study, genome: Genome, seconds: float) -> None:
    times = np.array([trial.outcome.seconds for trial in study.trials])
    pruned = np.mean([trial.outcome.pruned for trial in study.trials])
    print(
        f"  {study.settings.mode}: {seconds:.0f} s, {np.median(times):.2f} s for the median trial, "
        f"{100 * pruned:.0f} % given up, {len(used_members(genome))} members, "
        f"RSS {memory_kilobytes('VmRSS') / 2**20:.1f} GiB"
    )
    best: dict[str, tuple[int, float]] = {}
    for trial in study.trials:
        count, value = best.get(trial.phase, (0, 0.0))
        best[trial.phase] = count + 1, max(value, 0.0 if trial.outcome.pruned else trial.outcome.value)
    phases = ", ".join(f"{name} {100 * value:.2f} ({count})" for name, (count, value) in best.items())
    print(f"    best AP on search by phase (trials): {phases}")
    rivals = {"best member": study.best_member.genome, "naive ensemble": study.naive.genome}
    if study.greedy is not None:
        rivals["greedy selection"] = study.greedy.genome
    for name, rival in rivals.items():
        gains = [f"{split} {_shown(_gain(problem, split, genome, rival))}" for split in ("search", "verify")]
        print(f"    gain over the {name}: {', '.join(gains)}")
    recipe = parse_recipe(problem.recipe(genome).to_toml())
    replayed = problem.search.prepared.evaluate(recipe.fuse(problem.search.tables)).average_precision_per_category
    found = next(trial.outcome.per_category for trial in study.trials if trial.genome == genome)
    same = np.array_equal(replayed, found, equal_nan=True)
    print(f"    replayed recipe gives the same AP in every category to the last digit: {same}", flush=True)


def _gain(problem: Problem, split: str, genome: Genome, rival: Genome) -> Difference:
    side = problem.search if split == "search" else problem.others[0]
    ours, theirs = (
        bootstrap(
            side.prepared.evaluate(problem.recipe(g).fuse(side.tables)),
            replicates=500,
            drawn=("AP",),
        )
        for g in (rival, genome)
    )
    return compare(ours, theirs).figures["AP"]


def _shown(difference: Difference) -> str:
    return f"{100 * difference.value:+.2f} ({100 * difference.low:+.2f} to {100 * difference.high:+.2f})"


if __name__ == "__main__":
    main()

"""How many candidates a search runs per second, and what for: kept sub-trees, giving up, proposers, memory, growth.

The whole simulated data set is the search split. Candidates are those of the stage in which operators and weights
vary on one tree, and those of the evolution of whole candidates; the same lists are run under every setting.
Times are CPU seconds of all threads and wall seconds; on a machine that is shared, read the former.

    python -m benchmarks.search_throughput --trials 40
    python -m benchmarks.search_throughput --trials 40 --device cuda
"""

from __future__ import annotations

import argparse
import gc
import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import memory_kilobytes
from benchmarks.search_zoo import make_zoo
from evaluation.protocol import Coco
from search.baselines import flat, grown, similarity_tree
from search.device import measure_on_gpu
from search.engine import Engine, Fuser, Profile
from search.genome import Genome, Operator
from search.on_cpu import cpu_fusers
from search.population import Population, mutated
from search.problem import CategoryAp, Problem, agreement, pose
from search.pruning import Incumbent
from search.tpe import TreeTpe

_BATCH = 8


class Stage(NamedTuple):
    """Candidates as a search has proposed them, and the best one at that time."""

    name: str
    genomes: list[Genome]
    incumbents: list[Incumbent]


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=12)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--trials", type=int, default=40, help="candidates per stage")
    parser.add_argument("--memory", type=float, default=2.0, help="GiB for kept results")
    parser.add_argument("--growth", type=int, default=1000, help="images (members) of the tables of growth; 0 for none")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    before = memory_kilobytes("VmRSS")
    problem = problem_of(options.members, options.images)
    fusers = fusers_of(problem, options.device)
    _memory(problem, fusers, before)
    memory = int(options.memory * 2**30)
    stages = [proposed(problem, fusers, options.trials, memory, fixed_tree=fixed) for fixed in (True, False)]
    for stage in stages:
        _settings(fusers, stage, memory)
    _proposers(problem)
    if options.growth:
        del problem, fusers
        print(f"growth with members, {options.growth} images; {_GROWN} candidates each, all categories / given up")
        for members in (4, 8, 16, 28):
            _growth(members, options.growth, memory, options.device, f"{members} members")
        print(f"growth with images, {options.members} members")
        for images in (options.growth // 2, options.growth, 2 * options.growth, 4 * options.growth):
            _growth(options.members, images, memory, options.device, f"{images} images")


def problem_of(members: int, images: int) -> Problem:
    """Simulate members, and search on all images but a few."""
    truth, tables = make_zoo(0, members, images)
    ids = truth.image_id
    held = max(images // 100, 2)
    return pose(tables, truth, {"search": ids[held:], "verify": ids[:held]}, Coco())


def fusers_of(problem: Problem, device: str) -> list[Fuser[Any]]:
    """Put the members where a device fuses them."""
    leaves, chunks = problem.preparation.tables, problem.chunks
    if device == "cpu":
        return [*cpu_fusers(leaves, chunks, CategoryAp(problem.search.prepared), problem.sides)]
    from search.on_gpu import GpuFuser

    return [GpuFuser(leaves, chunks, lambda origins: measure_on_gpu(problem.search, origins))]


def _memory(problem: Problem, fusers: list[Fuser[Any]], before: int) -> None:
    gc.collect()
    tables = sum(table.arrow.nbytes for table in problem.search.tables)
    held = sum(f.size(f.leaf(member, 1.0, Profile())) for f in fusers for member in range(len(problem.names)))
    rows = sum(len(table) for table in problem.search.tables)
    now = (memory_kilobytes("VmRSS") - before) * 1024
    print(
        f"{len(problem.names)} members, {rows:,} detections: columns {tables / 2**20:.0f} MiB; what the engine "
        f"holds of them {held / 2**20:.0f} MiB, {held / tables:.2f} x; RSS since the start, ground truth and all, "
        f"{now / 2**20:.0f} MiB, {now / tables:.2f} x"
    )


def proposed(problem: Problem, fusers: list[Fuser[Any]], trials: int, memory: int, *, fixed_tree: bool) -> Stage:
    """Run a search for some trials and write down what it tries."""
    engine, count = Engine(fusers, memory=memory), len(problem.names)
    ids = problem.search.category_ids
    tree = similarity_tree(agreement(problem.search))
    start = grown(tree, count, Operator(kind="vote", factor=0.5))
    first = [start] if fixed_tree else [start, flat([1.0] * count, Operator(kind="wbf", iou=0.55))]
    rng = np.random.default_rng(1)
    first += [mutated(start, rng, fixed_tree=fixed_tree).canonical() for _ in range(4)]
    outcomes = [engine.evaluate(genome) for genome in first]
    population = Population(
        np.random.SeedSequence(0), zip(first, [o.value for o in outcomes], strict=True), fixed_tree=fixed_tree
    )
    best = max(outcomes, key=lambda outcome: outcome.value)
    genomes: list[Genome] = []
    incumbents: list[Incumbent] = []
    while len(genomes) < trials:
        incumbent = Incumbent(ids, best.per_category)
        for genome in population.ask(_BATCH):
            outcome = engine.evaluate(genome, incumbent)
            population.tell(genome, outcome.value)
            if not outcome.pruned and outcome.value > best.value:
                best = outcome
            genomes.append(genome)
            incumbents.append(incumbent)
    name = "operators on one tree" if fixed_tree else "evolution of everything"
    return Stage(name, genomes[:trials], incumbents[:trials])


def rate_of(fusers: list[Fuser[Any]], stage: Stage, memory: int) -> float:
    """Candidates per CPU second, as a search runs them."""
    engine = Engine(fusers, memory=memory)
    engine.evaluate(stage.genomes[0])
    begin = time.process_time()
    for genome, incumbent in zip(stage.genomes, stage.incumbents, strict=True):
        engine.evaluate(genome, incumbent)
    return len(stage.genomes) / (time.process_time() - begin)


def _settings(fusers: list[Fuser[Any]], stage: Stage, memory: int) -> None:
    print(f"{stage.name}: {len(stage.genomes)} candidates")
    print("  kept sub-trees  giving up  trials/CPU s  trials/s  median s  given up")
    rates: dict[tuple[bool, bool], float] = {}
    for kept in (False, True):
        for gives_up in (False, True):
            engine = Engine(fusers, memory=memory if kept else 0)
            engine.evaluate(stage.genomes[0])
            engine.profile = Profile()
            cpu, wall = time.process_time(), time.perf_counter()
            outcomes = [
                engine.evaluate(genome, incumbent if gives_up else None)
                for genome, incumbent in zip(stage.genomes, stage.incumbents, strict=True)
            ]
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            rates[kept, gives_up] = len(outcomes) / cpu
            print(
                f"  {'yes' if kept else 'no':14s}  {'yes' if gives_up else 'no':9s}  {len(outcomes) / cpu:12.2f}  "
                f"{len(outcomes) / wall:8.2f}  {np.median([outcome.seconds for outcome in outcomes]):8.2f}  "
                f"{100 * np.mean([outcome.pruned for outcome in outcomes]):.0f} %"
            )
    print(
        f"  keeping sub-trees: {rates[True, False] / rates[False, False]:.1f} x, with giving up "
        f"{rates[True, True] / rates[False, True]:.1f} x; both together {rates[True, True] / rates[False, False]:.1f} x"
    )
    print(f"  profile of the last line ({engine.profile.reused} results reused), ms per trial, wall:")
    seconds = engine.profile.seconds
    for name in sorted(seconds, key=lambda name: -seconds[name]):
        calls = engine.profile.calls[name] / len(stage.genomes)
        print(f"    {name:10s} {1000 * seconds[name] / len(stage.genomes):7.1f}  in {calls:.1f} calls")


def _proposers(problem: Problem) -> None:
    """CPU time per candidate of asking and telling, with a value made up."""
    count = len(problem.names)
    rng = np.random.default_rng(0)
    start = [(grown(similarity_tree(agreement(problem.search)), count, Operator()), 0.5)]
    for name, proposer, trials in (
        ("TPE on trees", TreeTpe(count, Operator(), 0), 250),
        ("evolution", Population(np.random.SeedSequence(0), start, fixed_tree=False), 500),
    ):
        begin = time.process_time()
        for _ in range(0, trials, _BATCH):
            for genome in proposer.ask(_BATCH):
                proposer.tell(genome, float(rng.random()))
        print(
            f"proposing, {name}: {1000 * (time.process_time() - begin) / trials:.1f} CPU ms per trial, {trials} trials"
        )


_GROWN = 24


def _growth(members: int, images: int, memory: int, device: str, label: str) -> None:
    problem = problem_of(members, images)
    fusers = fusers_of(problem, device)
    stage = proposed(problem, fusers, _GROWN, memory, fixed_tree=False)
    figures = []
    for gives_up in (False, True):
        engine = Engine(fusers, memory=memory)
        engine.evaluate(stage.genomes[0])
        begin = time.process_time()
        for genome, incumbent in zip(stage.genomes, stage.incumbents, strict=True):
            engine.evaluate(genome, incumbent if gives_up else None)
        figures.append((time.process_time() - begin) / _GROWN)
    print(f"  {label:12s} {figures[0]:6.3f} / {figures[1]:6.3f} CPU s per trial", flush=True)


if __name__ == "__main__":
    main()

"""The paired bootstrap side by side with evaluating again and with hotcoco; and how often its intervals hold.

Run from the repository root:

    python benchmarks/bootstrap.py              # CPU seconds for 1000 replicates of 5,000 images, 500,000 detections
    python benchmarks/bootstrap.py --coverage   # how many of 100 intervals hold, by images per category: ten minutes

CPU seconds of this process on all its threads. Ours draws every image with its multiplicity and gives AP, AP50 and AP75
per category, with `sizes` also APs, APm and APl. hotcoco's `compare` draws for two entries at once.
"""

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.coco_evaluation import dataset, ground_truth
from benchmarks.load import EvaluationLoad, evaluation_load
from evaluation import Coco, prepare
from evaluation.comparison import compare
from evaluation.statistics import bootstrap


def cpu(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of one call, and what it returned."""
    begin = time.process_time()
    answer = call()
    return time.process_time() - begin, answer


def ours(load: EvaluationLoad, replicates: int) -> None:
    """Print our times, and what evaluating again for every replicate would take."""
    ready = prepare(ground_truth(load), Coco())
    columns = {"image_id": load.image, "category_id": load.category, "score": load.score, "xywh": load.box}
    result = ready.evaluate_arrays(**columns)
    bootstrap(result, replicates=2)  # compiles
    again = min(cpu(lambda: ready.evaluate_arrays(**columns))[0] for _ in range(5))
    print(f"ours, {load.images:,} images, {len(load.score):,} detections, {replicates:,} replicates")
    for what, drawn in (("without sizes", ("AP", "AP50", "AP75")), ("with sizes   ", None)):
        took, entry = cpu(lambda drawn=drawn: bootstrap(result, replicates=replicates, drawn=drawn))
        print(
            f"  {what} CPU {took:7.2f} s, {1000 * took / replicates:6.2f} ms a replicate; "
            f"evaluating again {again * replicates:.1f} s, ratio {again * replicates / took:.1f}"
        )
    print(f"  AP {entry.intervals['AP']}")


def beside_hotcoco(load: EvaluationLoad, replicates: int) -> None:
    """Print the times of comparing two entries, by us and by hotcoco."""
    import hotcoco

    noise = np.random.default_rng(1).normal(0, 0.02, len(load.score))
    scores = (load.score, np.clip(load.score + noise, 0, 1))
    ready = prepare(ground_truth(load), Coco())
    results = [
        ready.evaluate_arrays(image_id=load.image, category_id=load.category, score=score, xywh=load.box)
        for score in scores
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = hotcoco.COCO()
        truth.dataset = dataset(load)
        truth.createIndex()
        runs = []
        for score in scores:
            rows = np.hstack((load.image[:, None], load.box, score[:, None], load.category[:, None]))
            run = hotcoco.COCOeval(truth, truth.loadRes(rows.astype(np.float64)), "bbox")
            run.evaluate()
            run.accumulate()
            runs.append(run)

    def mine() -> Any:
        return compare(*(bootstrap(result, replicates=replicates) for result in results))

    compare(*(bootstrap(result, replicates=2) for result in results))
    own, comparison = cpu(mine)
    theirs, answer = cpu(lambda: hotcoco.compare(*runs, n_bootstrap=replicates))
    print(f"\ncomparing two entries, {load.images:,} images, {len(load.score):,} detections, {replicates:,} replicates")
    print(f"  ours    CPU {own:7.2f} s; difference {comparison.figures['AP']}")
    print(f"  hotcoco CPU {theirs:7.2f} s, ratio {theirs / own:.1f}; {_summary(answer)}")


def _summary(answer: Any) -> str:
    found = answer.get("ci") or answer.get("bootstrap") or {}
    return f"difference {found.get('AP', found)}"


def coverage(sets: int) -> None:
    """Print how many of 100 nominal 95 % intervals hold the value of the population."""
    from tests.evaluation.test_statistics import evaluated, scenes, some_scenes

    print(
        "images, categories, objects per category and set: coverage of AP, of the difference; AP above the population's"
    )
    for images, categories in (
        (400, 4),
        (130, 4),
        (40, 4),
        (13, 4),
        (1000, 20),
        (330, 20),
        (70, 20),
        (5000, 80),
    ):
        rng = np.random.default_rng(images)
        population = max(60_000, 4 * images)
        truth, detectors = scenes(rng, population, skills=(1.2, 1.0), categories=categories)
        whole = evaluated(truth, detectors, population, categories)
        wanted = whole[1].AP, whole[1].AP - whole[0].AP
        turns = max(min(sets, sets * 400 // images), 60)
        held, observed = np.zeros((turns, 2), bool), np.zeros(turns)
        for number in range(turns):
            chosen = np.sort(rng.integers(population, size=images))
            sample = evaluated(*some_scenes(truth, detectors, chosen), images, categories)
            a, b = (bootstrap(result, replicates=128, seed=number, drawn=("AP",)) for result in sample)
            intervals = b.intervals["AP"], compare(a, b).figures["AP"]
            held[number] = [i.low <= value <= i.high for i, value in zip(intervals, wanted, strict=True)]
            observed[number] = sample[1].AP
        ap, difference = held.mean(axis=0)
        above = observed.mean() - wanted[0]
        print(
            f"  {images:5} {categories:3} {3 * images / categories:7.0f}: {ap:.3f} {difference:.3f} ({turns} sets); "
            f"{100 * above:+.2f} points, standard deviation {100 * observed.std():.2f}",
            flush=True,
        )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--sets", type=int, default=600, help="data sets per line of --coverage")
    parser.add_argument("--replicates", type=int, default=1000)
    options = parser.parse_args()
    if options.coverage:
        coverage(options.sets)
        return
    ours(evaluation_load(), options.replicates)
    beside_hotcoco(evaluation_load(images=500, detections=50_000), 100)


if __name__ == "__main__":
    main()

"""Evaluation inside search loops, side by side with the fastest peers: CPU seconds and ratios of one run.

Run from the repository root:

    python benchmarks/rescoring.py               # COCO size: new scores, new boxes; LVIS size: full evaluation
    python benchmarks/rescoring.py --only coco

The peers get their ground truth object for nothing and evaluate arrays. They have no way to keep what does not
depend on scores, so every candidate costs them a whole evaluation; besides the official one they are timed
with the area range "all" alone, which is enough for AP. The least CPU time of several turns is taken, in turn.
"""

import argparse
import contextlib
import ctypes
import gc
import io
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hotcoco
import numpy as np
import ultrafast_pycocotools
import vernier

from benchmarks.coco_evaluation import dataset, ground_truth
from benchmarks.load import EvaluationLoad, evaluation_load, federated_load
from benchmarks.measure import memory_kilobytes, reset_peak
from evaluation import Coco, GroundTruth, Lvis, Prepared, prepare
from evaluation.attached import Attached, attach
from evaluation.ground_truth import Labels
from fusion.table import DetectionTable

CANDIDATES = 16


def timed(call: Callable[[], Any], turns: int) -> tuple[float, float, Any]:
    """Least CPU and wall seconds of some turns, and the answer."""
    cpus, walls, answer = [], [], None
    for _ in range(turns):
        gc.collect()
        with contextlib.redirect_stdout(io.StringIO()):
            cpu, wall = time.process_time(), time.perf_counter()
            answer = call()
            cpus.append(time.process_time() - cpu)
            walls.append(time.perf_counter() - wall)
    return min(cpus), min(walls), answer


def table_of(load: EvaluationLoad) -> DetectionTable:
    """The load's detections as a table."""
    columns = {"image_id": load.image, "category_id": load.category.astype(np.int32), "score": load.score}
    return DetectionTable.from_arrays(**columns, xywh=load.box)


def matrix_of(load: EvaluationLoad) -> np.ndarray:
    """The load's detections as the peers take them: image, x, y, w, h, score, category."""
    columns = (load.image[:, None], load.box, load.score[:, None], load.category[:, None])
    return np.hstack(columns).astype(np.float64)


def peers(load: EvaluationLoad) -> dict[str, Callable[[], float]]:
    """Calls from a matrix of detections to AP, by name."""
    matrix, data = matrix_of(load), dataset(load)
    calls: dict[str, Callable[[], float]] = {}
    for name, module in (("hotcoco", hotcoco), ("ultrafast-pycocotools", ultrafast_pycocotools)):
        with contextlib.redirect_stdout(io.StringIO()):
            truth = module.COCO()
            truth.dataset = data
            truth.createIndex()

        def official(module: Any = module, truth: Any = truth) -> float:
            run = module.COCOeval(truth, truth.loadRes(matrix), "bbox")
            run.evaluate()
            run.accumulate()
            run.summarize()
            return float(run.stats[0])

        def lean(module: Any = module, truth: Any = truth) -> float:
            run = module.COCOeval(truth, truth.loadRes(matrix), "bbox")
            run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
            run.evaluate()
            run.accumulate()
            values = np.asarray(run.eval["precision"])[:, :, :, 0, -1]
            return float(np.mean(values[values > -1]))

        calls |= {name: official, f"{name}, area all": lean}
    prepared = vernier.instance.CocoDataset.from_json(json.dumps(data).encode())
    evaluator = vernier.instance.Evaluator(iou=vernier.instance.Bbox())
    calls["vernier"] = lambda: float(evaluator.evaluate(prepared, matrix).stats[0])
    return calls


def ours(load: EvaluationLoad, turns: int) -> dict[str, tuple[float, float, float]]:
    """CPU and wall seconds per candidate, and AP, of every way we have."""
    table = table_of(load)
    prepared = prepare(ground_truth(load), Coco())
    attached = attach(prepared, table)
    scores = table.score.copy()
    rng = np.random.default_rng(0)
    batch = np.stack([scores, *(scores * rng.uniform(0.9, 1, len(scores)) for _ in range(CANDIDATES - 1))])
    sizes = np.bincount(load.category, minlength=load.categories + 1)[1:]
    medium = [int(np.argsort(sizes)[len(sizes) // 2]) + 1]
    one_class = attached.average_precision_per_category
    ways: dict[str, tuple[Callable[[], Any], int, int]] = {
        "scores only, one candidate": (lambda: attached.average_precision(scores), 1, 1),
        f"scores only, {CANDIDATES} in one call": (lambda: attached.average_precision(batch)[0], CANDIDATES, 1),
        f"scores only, {CANDIDATES} in one call, 2 threads": (
            lambda: attached.average_precision(batch)[0],
            CANDIDATES,
            2,
        ),
        f"one class ({sizes[medium[0] - 1]} detections), one candidate": (
            lambda: max(float(one_class(scores, medium)[0]) for _ in range(100)),
            100,
            1,
        ),
        f"one class, {CANDIDATES} in one call": (lambda: one_class(batch, medium)[0, 0], CANDIDATES, 1),
        "new boxes to AP": (lambda: attach(prepared, table).average_precision(scores), 1, 1),
        "new boxes to AP, 2 threads": (lambda: attach(prepared, table).average_precision(scores), 1, 2),
        "full evaluation": (lambda: prepared.evaluate(table).AP, 1, 1),
    }
    answers = {}
    for name, (call, count, threads) in ways.items():
        os.environ["QUORUM_THREADS"] = str(threads)
        timed(call, 1)  # to warm up
        cpu, wall, ap = timed(call, turns)
        answers[name] = (cpu / count, wall / count, float(ap))
    os.environ["QUORUM_THREADS"] = "1"
    print_memory(attached, batch, prepared, table)
    return answers


def print_memory(attached: Attached, batch: np.ndarray, prepared: Prepared, table: DetectionTable) -> None:
    """Print what an attached table keeps, and the peaks of attaching and of a batch beyond what was there."""
    if not Path("/proc/self/clear_refs").exists():
        return
    found = attached.paired.found
    own = (found.start, found.image, found.category, found.outside, *attached.paired.pairs, *attached.layout)
    peaks = []
    for call in (lambda: attach(prepared, table), lambda: attached.average_precision(batch)):
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # what was freed must not be had for nothing
        reset_peak()
        before = memory_kilobytes("VmRSS")
        call()
        peaks.append((memory_kilobytes("VmHWM") - before) / 1024)
    held = sum(array.nbytes for array in own) / 2**20
    print(f"  {len(attached):,} detections attached take {held:.0f} MiB besides the table's columns")
    print(f"  peak beyond what was there: attach {peaks[0]:.0f} MiB, {len(batch)} candidates {peaks[1]:.0f} MiB")


def coco(turns: int) -> None:
    """Print the comparison at COCO size."""
    load = evaluation_load()
    print(f"COCO size: {load.images} images, {len(load.truth_image):,} ground truth, {len(load.score):,} detections")
    theirs = {name: timed(call, max(turns // 2, 2)) for name, call in peers(load).items()}
    for name, (cpu, wall, ap) in theirs.items():
        print(f"  {name:52} CPU {cpu * 1e3:8.2f} ms  wall {wall * 1e3:8.2f} ms  AP {ap!r}")
    official = min(cpu for name, (cpu, _, _) in theirs.items() if "area" not in name)
    lean = min(cpu for cpu, _, _ in theirs.values())
    walls = min(wall for name, (_, wall, _) in theirs.items() if "area" not in name)
    for name, (cpu, wall, ap) in ours(load, turns).items():
        text = f"  {name:52} CPU {cpu * 1e3:8.3f} ms  wall {wall * 1e3:8.3f} ms"
        ratio = f"fastest peer / ours: CPU {official / cpu:7.1f}, wall {walls / wall:7.1f}, area all {lean / cpu:7.1f}"
        print(f"{text}  {ratio}{'' if 'class' in name else f'  AP {ap!r}'}")


def lvis_truth(load: EvaluationLoad) -> GroundTruth:
    """The load's ground truth with its labels as ours."""
    labels = load.federated
    if labels is None:
        raise ValueError("the load has no federated labels")

    def rows(lists: list[list[int]]) -> Labels:
        start = np.concatenate(([0], np.cumsum([len(row) for row in lists]))).astype(np.int64)
        return Labels(start, np.array([k - 1 for row in lists for k in row], np.int32))

    truth = ground_truth(load)
    negative, partial = rows(labels.negative), rows(labels.not_exhaustive)
    return replace(truth, negative=negative, not_exhaustive=partial, frequency=tuple(labels.frequency))


def lvis(turns: int) -> None:
    """Print the comparison at LVIS size."""
    load = federated_load()
    labels = load.federated
    if labels is None:
        raise ValueError("the load has no federated labels")
    data, matrix, table = dataset(load), matrix_of(load), table_of(load)
    for image, absent, partial in zip(data["images"], labels.negative, labels.not_exhaustive, strict=True):
        image |= {"neg_category_ids": absent, "not_exhaustive_category_ids": partial}
    for category, group in zip(data["categories"], labels.frequency, strict=True):
        category["frequency"] = group
    prepared = prepare(lvis_truth(load), Lvis())
    truth = hotcoco.COCO()
    truth.dataset = data
    truth.createIndex()

    def peer() -> list[float]:
        run = hotcoco.LVISEval(truth, hotcoco.LVISResults(truth, matrix), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
        return list(run.stats)

    print(f"\nLVIS size: {load.images} images, {len(load.truth_image):,} ground truth, {len(load.score):,} detections")
    attached = attach(prepared, table)
    scores = table.score.copy()
    calls: dict[str, Callable[[], Any]] = {
        "hotcoco, thirteen figures": peer,
        "ours, thirteen figures": lambda: list(prepared.evaluate(table).stats.values()),
        "ours, new boxes to AP": lambda: [float(attach(prepared, table).average_precision(scores))],
        "ours, scores only": lambda: [float(attached.average_precision(scores))],
    }
    first: tuple[float, list[float]] | None = None
    for name, call in calls.items():
        timed(call, 1)  # to warm up
        cpu, wall, stats = timed(call, turns)
        first = first or (cpu, stats)
        off = max(abs(a - b) for a, b in zip(stats, first[1], strict=False))
        text = f"  {name:28} CPU {cpu * 1e3:8.2f} ms  wall {wall * 1e3:8.2f} ms"
        print(f"{text}  hotcoco / this {first[0] / cpu:6.2f}  AP {float(stats[0])!r}  largest difference {off:.1e}")


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("coco", "lvis"))
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    os.environ["QUORUM_THREADS"] = "1"
    if options.only != "lvis":
        coco(options.turns)
    if options.only != "coco":
        lvis(options.turns)


if __name__ == "__main__":
    main()

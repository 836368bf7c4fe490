"""The analysis side by side with tidecv, and how it grows: CPU seconds and ratios of one run.

Run from the repository root (tidecv is needed for the first part: pip install tidecv):

    python benchmarks/analysis.py

TIDE is timed from a table and prepared ground truth, tidecv from its own data objects, both to all costs and
counts; the two answers are compared. The growth is that of one thread.
"""

import argparse
import contextlib
import gc
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("QUORUM_THREADS", "1")

import numpy as np

from benchmarks.coco_evaluation import ground_truth
from benchmarks.load import EvaluationLoad, evaluation_load
from evaluation import Coco, prepare
from evaluation.analysis.ensemble_analysis import analyze_ensemble
from evaluation.analysis.errors import analyze_errors
from evaluation.analysis.members import analyze_members
from evaluation.analysis.table_analysis import analyze_table
from fusion.table import DetectionTable, Metadata


def table(load: EvaluationLoad, rows: np.ndarray, member: str) -> DetectionTable:
    """Some of the load's detections as a table."""
    return DetectionTable.from_arrays(
        image_id=load.image[rows],
        category_id=load.category[rows],
        score=load.score[rows],
        xywh=load.box[rows],
        metadata=Metadata(member=member),
    )


def timed(call: Callable[[], Any], turns: int = 3) -> tuple[float, Any]:
    """Least CPU seconds of several turns after a first that warms up, and the answer."""
    best = float("inf")
    answer = None
    for turn in range(turns + 1):
        gc.collect()
        before = time.process_time()
        answer = call()
        if turn or turns == 0:
            best = min(best, time.process_time() - before)
    return best, answer


def beside_tidecv(images: int, detections: int) -> None:
    """Print both times on one load, their ratio, and how far the answers differ."""
    from tidecv import TIDE, Data

    load = evaluation_load(images, detections)
    prepared = prepare(ground_truth(load), Coco())
    everything = table(load, np.arange(len(load.image)), "all")
    ours, errors = timed(lambda: analyze_errors(everything, prepared))
    truth, found = Data("truth"), Data("found")
    for image in range(1, images + 1):
        truth.add_image(image, str(image))
    columns = (load.truth_image, load.truth_category, load.truth_box, load.truth_crowd)
    for image, category, box, crowd in zip(*(column.tolist() for column in columns), strict=True):
        (truth.add_ignore_region if crowd else truth.add_ground_truth)(image, category, box)
    for row in zip(*(c.tolist() for c in (load.image, load.category, load.score, load.box)), strict=True):
        found.add_detection(*row)

    def peer() -> tuple[float, dict[str, float], dict[str, int]]:
        run = TIDE().evaluate(truth, found, mode=TIDE.BOX)
        costs = run.fix_main_errors() | run.fix_special_errors()
        counts = {kind.short_name: count for kind, count in run.count_errors().items()}
        return run.ap, {kind.short_name: cost for kind, cost in costs.items()}, counts

    with contextlib.redirect_stdout(io.StringIO()):
        theirs, (ap, costs, counts) = timed(peer, 0)
    off = max(abs(errors.AP - ap / 100), *(abs(errors.costs[name] - costs[name] / 100) for name in costs))
    print(f"TIDE, {images:,} images, {detections:,} detections, AP {100 * ap / 100:.2f}")
    print(f"  ours {ours:.3f} s, tidecv {theirs:.2f} s CPU: {theirs / ours:.0f} times")
    print(f"  largest difference of AP and costs {off:.1e}, counts equal: {counts == errors.counts}")


def growth() -> None:
    """Print the time of the whole analysis of one table for loads of 1, 2, 4 and 8 times the size."""
    print("one table, one thread, without pictures: detections, CPU s of TIDE alone, CPU s of everything")
    for factor in (1, 2, 4, 8):
        load = evaluation_load(625 * factor, 62_500 * factor)
        prepared = prepare(ground_truth(load), Coco())
        everything = table(load, np.arange(len(load.image)), "all")
        tide, _ = timed(lambda e=everything, p=prepared: analyze_errors(e, p))
        whole, analysis = timed(lambda e=everything, p=prepared: analyze_table(e, p), 1)
        print(f"  x{factor}  {len(load.image):9,}  {tide:7.3f}  {whole:7.3f}")
    with tempfile.TemporaryDirectory() as folder:
        pictures, _ = timed(lambda: analysis.write(Path(folder), "all"), 1)
    print(f"  its frames and pictures: {pictures:.2f} s, whatever the size")


def members(count: int, images: int, detections: int) -> None:
    """Print the time of the analysis of several members with and without their fusions."""
    load = evaluation_load(images, detections)
    prepared = prepare(ground_truth(load), Coco())
    rng = np.random.default_rng(0)
    tables = [table(load, np.flatnonzero(rng.random(len(load.image)) < 1 / count), f"member {m}") for m in range(count)]
    alone, _ = timed(lambda: analyze_members(tables, prepared), 1)
    whole, _ = timed(lambda: analyze_ensemble(tables, prepared), 1)
    total = sum(map(len, tables))
    print(f"{count} members, {images:,} images, {total:,} detections in all: {alone:.2f} s who finds what,")
    print(f"  {whole - alone:.2f} s more for {2 * count + 1} fusions and their evaluations")


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500, help="images of the comparison, 100 detections each")
    options = parser.parse_args()
    try:
        beside_tidecv(options.images, 100 * options.images)
    except ImportError as error:
        print(f"tidecv is not installed ({error}); its part is left out")
    growth()
    members(28, 5000, 500_000)


if __name__ == "__main__":
    main()

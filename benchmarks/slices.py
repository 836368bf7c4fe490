"""Merging of slices beside a plain script, in one run: `python benchmarks/slices.py [--images N]`.

The plain script is the same greedy merging in NumPy: per image and category, overlaps of all pairs at once, then box by
box. Times are process CPU time on one thread, arrays in, arrays out, sorting included. The public package is timed as
well where it is installed, from its own objects, which are made beforehand.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import cpu
from fusion.run import apply
from fusion.steps.merge_slices import MergeSlices
from fusion.table import DetectionTable

SLICE, STRIDE, GRID, CATEGORIES = 640, 512, 6, 10
THRESHOLD = 0.5


def sliced(images: int, objects: int, seed: int = 0) -> tuple[DetectionTable, dict[str, tuple[int, int]]]:
    """Draw detections of a member in overlapping slices: each object in every slice that has a quarter of it.

    Coordinates and scores are numbers that float32 has, and no two scores of an image tie.
    """
    rng = np.random.default_rng(seed)
    offsets = {f"{x}_{y}": (x * STRIDE, y * STRIDE) for x in range(GRID) for y in range(GRID)}
    side = STRIDE * (GRID - 1) + SLICE
    low = rng.integers(0, side - 100, (images * objects, 2)).astype(float)
    high = low + rng.integers(16, 100, low.shape)
    image, kind = np.repeat(np.arange(images), objects), rng.integers(CATEGORIES, size=len(low))
    parts: list[tuple[Any, ...]] = []
    for view, place in offsets.items():
        left, right = np.maximum(low - place, 0), np.minimum(high - place, SLICE)
        seen = np.flatnonzero((right - left > 0).all(axis=1))
        area = ((right - left)[seen]).prod(axis=1) / (high - low)[seen].prod(axis=1)
        seen = seen[area >= 0.25]
        noise = rng.integers(-2, 3, (len(seen), 4))
        corners = np.hstack([left[seen], right[seen]]) + noise
        corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)
        parts.append((image[seen], kind[seen], np.maximum(corners, 0), [view] * len(seen)))
    images_of, kinds, boxes = (np.concatenate([part[k] for part in parts]) for k in range(3))
    score = rng.permutation(len(boxes)) / 2.0 ** np.ceil(np.log2(len(boxes)))
    views = [view for part in parts for view in part[3]]
    xywh = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    table = DetectionTable.from_arrays(
        image_id=images_of, category_id=kinds, score=score, xywh=xywh, view=views
    ).with_metadata(member="a")
    return table, offsets


def plain(boxes: np.ndarray, score: np.ndarray, *, union: bool) -> list[tuple[float, ...]]:
    """Merge one cell greedily by intersection over the smaller box: (score, x1, y1, x2, y2) of what is left."""
    order = np.argsort(-score, kind="stable")
    boxes, score = boxes[order], score[order]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    low, high = np.maximum(boxes[:, None, :2], boxes[None, :, :2]), np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shares = np.maximum(high - low, 0).prod(axis=2) / np.minimum(area[:, None], area[None])
    free = np.ones(len(boxes), bool)
    left = []
    for i in range(len(boxes)):
        if not free[i]:
            continue
        claimed = np.flatnonzero(free & (shares[i] >= THRESHOLD))
        free[claimed] = False
        box = boxes[i].copy()
        for j in claimed[claimed > i] if union else ():
            shared = np.maximum(np.minimum(box[2:], boxes[j, 2:]) - np.maximum(box[:2], boxes[j, :2]), 0).prod()
            if shared >= THRESHOLD * min((box[2:] - box[:2]).prod(), area[j]):
                box = np.concatenate([np.minimum(box[:2], boxes[j, :2]), np.maximum(box[2:], boxes[j, 2:])])
        left.append((score[i], *box))
    return left


def main() -> None:
    """Print sizes, whether the answers are the same, and the ratios of the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--objects", type=int, default=400)
    arguments = parser.parse_args()
    os.environ["QUORUM_THREADS"] = "1"
    table, offsets = sliced(arguments.images, arguments.objects)
    shift = np.array([offsets[view] for view in table.arrow["view"].to_pylist()])
    low = table.xywh[:, :2] + shift
    boxes = np.hstack([low, low + table.xywh[:, 2:]])
    key = table.image_id * CATEGORIES + table.category_id
    order = np.argsort(key, kind="stable")
    cells = np.split(order, np.flatnonzero(np.diff(key[order])) + 1)
    print(f"{len(table):,} detections in {arguments.images} images of {GRID * GRID} slices")
    for merge in ("union", "best"):
        step = MergeSlices(offsets=offsets, merge=merge)
        apply(step, table)
        ours = apply(step, table)

        def script(union: bool = merge == "union") -> list[tuple[float, ...]]:
            return [entry for cell in cells for entry in plain(boxes[cell], table.score[cell], union=union)]

        theirs = np.array(sorted(script()))
        x, y, w, h = ours.xywh.T
        same = np.array_equal(np.array(sorted(zip(ours.score, x, y, x + w, y + h, strict=True))), theirs)
        seconds = cpu(lambda step=step: apply(step, table))  # type: ignore[misc]
        line = f"{merge:5} {len(ours):,} left, the same as plain NumPy's: {same}"
        line += f"; {len(table) / seconds / 1e6:.2f} M detections/s, {cpu(script, runs=2) / seconds:.0f} x plain NumPy"
        print(line + peer(merge, table, boxes, seconds))


def peer(merge: str, table: DetectionTable, boxes: np.ndarray, ours: float) -> str:
    """Say how many times as long the public package takes; "" where it is not installed."""
    try:
        combine, prediction = map(importlib.import_module, ("sahi.postprocess.combine", "sahi.prediction"))
    except ImportError:
        return ""
    kind = combine.GreedyNMMPostprocess if merge == "union" else combine.NMSPostprocess
    method = kind(match_threshold=THRESHOLD, match_metric="IOS", class_agnostic=False)
    few = int(np.searchsorted(table.image_id, min(20, table.image_id.max() + 1)))
    made: list[list[Any]] = [[] for _ in range(int(table.image_id[:few].max()) + 1)]
    rows = zip(table.image_id, boxes.tolist(), table.score.tolist(), table.category_id.tolist(), strict=True)
    for _, (image, box, score, category) in zip(range(few), rows, strict=False):
        made[image].append(prediction.ObjectPrediction(bbox=box, score=score, category_id=category))
    method(list(made[0]))
    seconds = cpu(lambda: [method(list(objects)) for objects in made], runs=2)
    return f"; {seconds / few * len(table) / ours:.0f} x the public package (first {len(made)} images)"


if __name__ == "__main__":
    main()

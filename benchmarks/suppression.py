"""Suppression and voting beside their peers, in one run: `python benchmarks/suppression.py [--images N]`.

Times are process CPU time on one thread, arrays in, arrays out, sorting included; peers get their arrays
or lists ready-made. Only the ratio of two threads to one is of wall time.
"""

import argparse
import importlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load import Load, make_load
from benchmarks.measure import (
    Cells,
    Image,
    columns_of,
    cpu,
    extra_memory,
    first_images,
    fuse,
    images_of,
    sorted_rows,
    wall,
)
from fusion.columns import Columns, Fused, sort_columns
from fusion.kernels.vectors import LANES
from fusion.steps.adj_nms import AdjNms
from fusion.steps.nms import Nms
from fusion.steps.nms_then_soft import NmsThenSoft
from fusion.steps.soft_nms import SoftNms
from fusion.steps.vote import Vote

IOU, SIGMA, FLOOR = 0.5, 0.5, 0.001
STEPS = {
    "nms": Nms(iou=IOU),
    "soft_nms gaussian": SoftNms(sigma=SIGMA, floor=FLOOR),
    "soft_nms linear": SoftNms(method="linear", iou=IOU, floor=FLOOR),
    "adj_nms": AdjNms(iou=IOU, sigma=SIGMA, floor=FLOOR),
    "nms_then_soft": NmsThenSoft(sigma=SIGMA, floor=FLOOR),
    "vote": Vote(iou=IOU),
}


def installed(name: str) -> Any:
    """The peer's module, or None with a note."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is not installed: no comparison")
        return None


def plain_soft_nms(boxes: np.ndarray, scores: np.ndarray, *, linear: bool) -> tuple[list[int], np.ndarray]:
    """Sequential soft suppression of one cell in NumPy; returns the picks and all scores."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    scores = scores.copy()
    left = np.flatnonzero(scores >= FLOOR)
    picks = []
    while len(left):
        lead = left[scores[left].argmax()]
        picks.append(int(lead))
        left = left[left != lead]
        low = np.maximum(boxes[lead, :2], boxes[left, :2])
        high = np.minimum(boxes[lead, 2:], boxes[left, 2:])
        shared = np.maximum(high - low, 0).prod(axis=1)
        iou = shared / (area[lead] + area[left] - shared)
        scores[left] *= np.where(iou > IOU, 1 - iou, 1) if linear else np.exp(-(iou**2) / SIGMA)
        left = left[scores[left] >= FLOOR]
    return picks, scores


def cells_of(columns: Columns) -> list[tuple[np.ndarray, np.ndarray]]:
    """Boxes and scores of each cell, for the plain NumPy version."""
    boxes = np.stack([columns.x1, columns.y1, columns.x2, columns.y2], axis=1)
    return [(boxes[a:b], columns.score[a:b]) for a, b in itertools.pairwise(columns.start.tolist())]


def rows_per_image(fused: Fused, load: Load, images: int) -> list[np.ndarray]:
    """Kept boxes (label, corners) of each image, sorted."""
    rows = np.stack(
        [column[fused.row] for column in (load.category, load.x1, load.y1, load.x2, load.y2)], axis=1
    ).astype(np.float64)
    image = load.image[fused.row]
    return [sorted_rows(rows[image == i]) for i in range(images)]


def check_equality(load: Load, images: list[Image], peers: dict[str, Callable[[Image], Any]]) -> None:
    """Print whether the kept sets are the peers', and how far the decayed scores are from plain NumPy's."""
    some = first_images(load, len(images))
    columns = columns_of(some)
    for name, step in (("nms", "nms"), ("soft_nms gaussian",) * 2, ("soft_nms linear",) * 2):
        if name not in peers:
            continue
        ours = rows_per_image(fuse(STEPS[step], some), some, len(images))
        same = 0
        for image, rows in zip(images, ours, strict=True):
            boxes, _, labels = peers[name](image)
            same += np.array_equal(rows, sorted_rows(np.column_stack((labels, boxes)).astype(np.float64)))
        print(f"{name}: kept set of ensemble_boxes on {same} of {len(images)} images")
    for linear, name in ((False, "soft_nms gaussian"), (True, "soft_nms linear")):
        fused = STEPS[name].fuse(Cells(columns))
        theirs = []
        for boxes, scores in cells_of(columns):
            picks, decayed = plain_soft_nms(boxes, scores, linear=linear)
            theirs.append(np.sort(decayed[picks])[::-1])
        expected = np.concatenate(theirs)
        gap = np.abs(fused.score - expected).max() if len(expected) == len(fused.score) else np.inf
        print(f"{name}: decayed scores within {gap:.1e} of plain NumPy's")


def compare_speed(load: Load, images: list[Image], peers: dict[str, Callable[[Image], Any]], vision: Any) -> None:
    """Print the rates of whole loads beside the peers."""
    n, few = len(load.score), first_images(load, len(images))
    m = len(few.score)
    sorting = cpu(lambda: columns_of(load))
    print(f"\n{n:,} detections, peers on {m:,}; sort_columns alone {sorting / n * 1e9:.0f} ns per detection")
    peer_rates: dict[str, dict[str, float]] = {name: {} for name in STEPS}
    for name, peer in peers.items():
        peer(images[0])
        peer_rates[name]["ensemble_boxes"] = m / cpu(lambda peer=peer: [peer(image) for image in images], runs=3)
    cells = cells_of(columns_of(few))
    for linear, name in ((False, "soft_nms gaussian"), (True, "soft_nms linear")):
        seconds = cpu(lambda linear=linear: [plain_soft_nms(*cell, linear=linear) for cell in cells], runs=1)
        peer_rates[name]["plain NumPy"] = m / seconds
    peer_rates["adj_nms"] = peer_rates["soft_nms gaussian"]
    if vision is not None:
        peer_rates["nms"]["torchvision.ops.batched_nms"] = m / vision_seconds(vision, images)
    for name, step in STEPS.items():
        alone_columns = columns_of(load)
        seconds = cpu(lambda step=step: fuse(step, load))
        alone = cpu(lambda step=step, columns=alone_columns: step.fuse(Cells(columns)))
        line = f"{name:18} {n / seconds / 1e6:5.2f} M detections/s, {alone / n * 1e9:3.0f} ns each without sorting"
        for peer_name, rate in peer_rates[name].items():
            line += f"; {peer_name} {rate:,.0f}: {n / seconds / rate:.1f} x"
        print(line)
    print("(adj_nms is compared with the soft suppression of its peers, which have no adj_nms)")


def vision_seconds(vision: Any, images: list[Image]) -> float:
    """CPU seconds of torchvision's suppression, image by image."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    tensors = [
        (
            torch.from_numpy(np.concatenate(image.boxes)).float(),
            torch.from_numpy(np.concatenate(image.scores)).float(),
            torch.from_numpy(np.concatenate(image.labels)).long(),
        )
        for image in images
    ]
    vision.ops.batched_nms(*tensors[0], IOU)
    return cpu(lambda: [vision.ops.batched_nms(*three, IOU) for three in tensors], runs=3)


def compare_sizes(load: Load, images: int) -> None:
    """Print the gain of a second thread, peak memory, growth, and the time of one huge cell."""
    columns = columns_of(load)
    print()
    for name, step in STEPS.items():
        times = []
        for threads in "1", "2":
            os.environ["QUORUM_THREADS"] = threads
            times.append(wall(lambda step=step: fuse(step, load)))
        os.environ["QUORUM_THREADS"] = "1"
        print(f"{name:18} two threads {times[0] / times[1]:.2f} x one (wall); {extra_memory(columns, step)}")
    parts = [first_images(load, images * part // 8) for part in (1, 2, 4, 8)]
    for name, step in STEPS.items():
        rates = [cpu(lambda part=part, step=step: fuse(step, part)) / len(part.score) for part in parts]
        text = ", ".join(f"{rate * 1e9:.0f}" for rate in rates)
        print(f"{name:18} ns per detection on 1/8, 1/4, 1/2 and all of the images: {text}")
    rng = np.random.default_rng(0)
    n = 10_000
    low, zero = rng.random((2, n)), np.zeros(n, np.int32)
    huge = sort_columns(zero, zero, rng.random(n), *low, *(low + 0.02), rng.integers(5, size=n).astype(np.int16))
    for name, step in STEPS.items():
        seconds = cpu(lambda step=step: step.fuse(Cells(huge)))
        print(f"{name:18} one cell of {n:,} boxes: {seconds * 1e3:.0f} ms")


def floors(load: Load) -> None:
    """Print what no program can do without: bytes to read and pairs to look at, at rates measured here."""
    columns = columns_of(load)
    read = sum(columns[k].nbytes for k in range(5))
    block = np.random.default_rng(0).random(8_000_000)
    bandwidth = block.nbytes / cpu(lambda: block.max())
    sizes = np.diff(columns.start)
    pairs = int((sizes * (sizes - 1) // 2).sum())
    kept = STEPS["nms"].fuse(Cells(columns))
    survivors = np.bincount(kept.cell, minlength=len(sizes))
    looked_at = int((survivors * (survivors - 1) // 2 + (sizes - survivors)).sum())
    seconds = read / bandwidth
    print(f"\nfloor: {read / 1e6:.0f} MB of corners and scores at {bandwidth / 1e9:.0f} GB/s: {seconds * 1e3:.0f} ms")
    print(
        f"floor: of {pairs / 1e6:.0f} M pairs of a cell nms cannot do without {looked_at / 1e6:.0f} M (kept with kept,"
    )
    print(f"suppressed with one): {looked_at / 5e9 * 1e3:.0f} ms at 5 G pairs/s, the rate of the {LANES}-box filter")


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--peer-images", type=int, default=300)
    arguments = parser.parse_args()
    os.environ["QUORUM_THREADS"] = "1"
    package, vision = installed("ensemble_boxes"), installed("torchvision")
    load = make_load(arguments.images)
    images = images_of(load, min(arguments.peer_images, arguments.images))
    for step in STEPS.values():
        fuse(step, first_images(load, 20))
    peers: dict[str, Callable[[Image], Any]] = {}
    if package is not None:
        options = {"iou_thr": IOU, "sigma": SIGMA, "thresh": FLOOR}
        peers["nms"] = lambda image: package.nms(*image, iou_thr=IOU)
        peers["soft_nms gaussian"] = lambda image: package.soft_nms(*image, method=2, **options)
        peers["soft_nms linear"] = lambda image: package.soft_nms(*image, method=1, **options)
    check_equality(load, images[:100], peers)
    compare_speed(load, images, peers, vision)
    compare_sizes(load, arguments.images)
    floors(load)


if __name__ == "__main__":
    main()

"""Dropout, experts, hierarchy and scales beside plain NumPy: `python benchmarks/other_operators.py [--images N]`.

Times are process CPU time on one thread, from tables to what the step answers; plain NumPy gets arrays ready-made and
as few images as it needs for a fair rate. Both answers are compared.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load import CATEGORIES, Load, make_load
from benchmarks.measure import cpu, first_images
from fusion.parents import ancestors_of
from fusion.pool import pool_tables
from fusion.scales import Scales
from fusion.steps.dropout import Dropout
from fusion.steps.expand_hierarchy import ExpandHierarchy
from fusion.steps.merge_scales import MergeScales
from fusion.steps.select_experts import SelectExperts
from fusion.steps.select_views import SelectViews
from fusion.table import DetectionTable, Metadata

SIDE = 640.0
# five levels, as the challenge's tree: 80 leaves, then 20, 5, 2, 1 above them; every seventh has a second parent
PARENTS = {c: [CATEGORIES + c // 4, *([CATEGORIES + 19 - c // 4] if c % 7 == 0 else [])] for c in range(CATEGORIES)}
PARENTS |= {CATEGORIES + k: [CATEGORIES + 20 + k // 4] for k in range(20)}
PARENTS |= {CATEGORIES + 20 + k: [CATEGORIES + 25 + k // 3] for k in range(5)}
PARENTS |= {CATEGORIES + 25: [], CATEGORIES + 26: []}
VIEWS = {f"view{k}": [1.0 - 0.1 * k, 0.9, 0.6 + 0.1 * k] for k in range(5)}
SCALES = Scales(sides=(32.0, 96.0), weights=VIEWS)
LEVELS = [["view1", "view2"], ["view2", "view3"], ["view3", "view4"]]
EXPERTS = {"m3": list(range(0, 80, 5)), "m4": list(range(1, 80, 5))}


def tables_of(load: Load, members: range) -> list[DetectionTable]:
    """Make a table per member, in pixels."""
    tables = []
    for m in members:
        rows = np.flatnonzero(load.member == m)
        corners = [getattr(load, name)[rows] * SIDE for name in ("x1", "y1", "x2", "y2")]
        x1, y1, x2, y2 = corners
        tables.append(
            DetectionTable.from_arrays(
                image_id=load.image[rows],
                category_id=load.category[rows],
                score=load.score[rows],
                xywh=(x1, y1, x2 - x1, y2 - y1),
                view=[f"view{m}"] * len(rows),
                metadata=Metadata(member=f"m{m}"),
            )
        )
    return tables


def arrays_of(tables: list[DetectionTable]) -> dict[str, np.ndarray]:
    """The columns of tables, one behind the other."""
    columns = {name: np.concatenate([t.column(name) for t in tables]) for name in ("score", *"xywh")}
    columns["image"] = np.concatenate([t.image_id for t in tables])
    columns["category"] = np.concatenate([t.category_id for t in tables])
    columns["table"] = np.repeat(np.arange(len(tables)), [len(t) for t in tables])
    return columns


def plain_ious(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of one box with others, corners."""
    shared = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    return shared / ((box[2:] - box[:2]).prod() + areas - shared)


def cells_of(a: dict[str, np.ndarray], score: np.ndarray) -> list[np.ndarray]:
    """Rows of each cell, best score first."""
    order = np.lexsort((np.arange(len(score)), -score, a["category"], a["image"]))
    key = a["image"][order] * 1000 + a["category"][order]
    return np.split(order, np.flatnonzero(np.diff(key)) + 1)


def corners_of(a: dict[str, np.ndarray]) -> np.ndarray:
    """Boxes as corners."""
    return np.stack([a["x"], a["y"], a["x"] + a["w"], a["y"] + a["h"]], axis=1)


def plain_dropout(a: dict[str, np.ndarray]) -> np.ndarray:
    """Rows of the right table that take a score of the left one."""
    boxes, found = corners_of(a), []
    for rows in cells_of(a, a["score"]):
        left, right = rows[a["table"][rows] == 0], rows[a["table"][rows] == 1]
        taken = set()
        for row in left if len(right) else ():
            iou = plain_ious(boxes[row], boxes[right])
            best = int(iou.argmax())
            if iou[best] > 0.5 and best not in taken:
                taken.add(best)
                found.append(right[best])
    return np.sort(np.array(found))


def plain_views(a: dict[str, np.ndarray]) -> np.ndarray:
    """Rows whose view fits the box of the first table that they overlap best."""
    boxes, found = corners_of(a), []
    level = np.minimum(np.floor(a["w"] * a["h"] / 56**2), len(LEVELS) - 1).astype(int)
    votes = np.array([[f"view{k}" in names for k in range(5)] for names in LEVELS])
    for rows in cells_of(a, a["score"]):
        first, others = rows[a["table"][rows] == 0], rows[a["table"][rows] > 0]
        for row in others if len(first) else ():
            iou = plain_ious(boxes[row], boxes[first])
            best = int(iou.argmax())
            if iou[best] > 0 and votes[level[first[best]], a["table"][row]]:
                found.append(row)
    return np.sort(np.array(found))


def plain_experts(a: dict[str, np.ndarray]) -> np.ndarray:
    """Rows that are used."""
    given = np.zeros((3, CATEGORIES), bool)
    for k, ids in enumerate(EXPERTS.values(), start=1):
        given[k, ids] = True
    given[0] = ~given.any(axis=0)
    return np.flatnonzero(given[a["table"], a["category"]])


def plain_gate(a: dict[str, np.ndarray]) -> np.ndarray:
    """Rows that are used and no background, by np.unique over boxes."""
    key = np.stack([a["image"], a["table"], a["x"], a["y"], a["w"], a["h"]], axis=1)
    region = np.unique(key, axis=0, return_inverse=True)[1].ravel()
    total = np.bincount(region, weights=a["score"])
    best = np.zeros(len(total))
    np.maximum.at(best, region, a["score"])
    rows = plain_experts(a)
    background = 1 - total[region[rows]] > best[region[rows]]
    return rows[(a["table"][rows] == 0) | ~background]


def plain_hierarchy(a: dict[str, np.ndarray]) -> np.ndarray:
    """Sorted keys of (row, category) that stay, by np.unique over copies."""
    above = ancestors_of(PARENTS)
    lists = [[c, *above[c]] for c in range(CATEGORIES)]
    counts = np.array([len(row) for row in lists])[a["category"]]
    row = np.repeat(np.arange(len(counts)), counts)
    kind = np.concatenate([lists[c] for c in a["category"].tolist()])
    box = np.unique(
        np.stack([a["image"], a["table"], a["x"], a["y"], a["w"], a["h"]], axis=1), axis=0, return_inverse=True
    )[1]
    order = np.lexsort((row, -a["score"][row], kind, box.ravel()[row]))
    key = box.ravel()[row[order]].astype(np.int64) * 1000 + kind[order]
    best = order[np.concatenate(([True], key[1:] != key[:-1]))]
    return np.sort(row[best] * 1000 + kind[best])


def plain_scales(a: dict[str, np.ndarray]) -> np.ndarray:
    """Rows that stay: weights, hard suppression at .7, then gaussian soft suppression."""
    weights = np.array(list(VIEWS.values()))
    size = np.searchsorted(SCALES.sides, np.sqrt(a["w"] * a["h"]), side="right")
    score = a["score"] * weights[a["table"], size]
    boxes, found = corners_of(a), []
    for rows in cells_of(a, score):
        kept = []
        while len(rows):
            kept.append(rows[0])
            rows = rows[1:][plain_ious(boxes[rows[0]], boxes[rows[1:]]) <= 0.7]
        left, current, squares = np.array(kept), score[kept].copy(), np.zeros(len(kept))
        while len(left):
            lead = int(current.argmax())
            if current[lead] < 0.001:
                break
            found.append(left[lead])
            keep = np.arange(len(left)) != lead
            squares = squares[keep] + plain_ious(boxes[left[lead]], boxes[left[keep]]) ** 2
            left = left[keep]
            current = score[left] * np.exp(-squares / 0.5)
    return np.sort(np.array(found))


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--peer-images", type=int, default=200)
    arguments = parser.parse_args()
    os.environ["QUORUM_THREADS"] = "1"
    load = make_load(arguments.images)
    rows: dict[str, tuple[Any, range, Callable[[dict[str, np.ndarray]], np.ndarray], Callable[[Any], np.ndarray]]] = {
        "dropout": (Dropout(), range(2), plain_dropout, lambda answer: np.sort(answer.row)),
        "select_experts": (SelectExperts(categories=EXPERTS), range(2, 5), plain_experts, lambda answer: answer.row),
        "... with the gate": (
            SelectExperts(categories=EXPERTS, gate=True),
            range(2, 5),
            plain_gate,
            lambda answer: answer.row,
        ),
        "expand_hierarchy": (
            ExpandHierarchy(parents=PARENTS),
            range(5),
            plain_hierarchy,
            lambda answer: np.sort(answer.row * 1000 + answer.table.category_id),
        ),
        "select_views": (SelectViews(views=LEVELS), range(5), plain_views, lambda answer: answer.row),
        "merge_scales": (MergeScales(scales=SCALES), range(5), plain_scales, lambda answer: np.sort(answer.row)),
    }
    for name, (step, members, plain, rows_of) in rows.items():
        few = tables_of(first_images(load, arguments.peer_images), members)
        arrays = arrays_of(few)
        same = np.array_equal(rows_of(step.fuse(pool_tables(few))), plain(arrays))
        peer = len(arrays["score"]) / cpu(lambda plain=plain, arrays=arrays: plain(arrays), runs=1)
        tables = tables_of(load, members)
        n = sum(map(len, tables))
        rate = n / cpu(lambda step=step, tables=tables: step.fuse(pool_tables(tables)), runs=3)
        print(
            f"{name:17} {n:9,} detections, {rate / 1e6:5.2f} M per second; plain NumPy {peer / 1e6:.3f} M: "
            f"{rate / peer:.1f} x; same rows: {same}"
        )


if __name__ == "__main__":
    main()

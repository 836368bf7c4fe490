"""Small random members and ground truth for the tests of the search."""

import os
import signal

import numpy as np
from numba import config

from evaluation import GroundTruth
from fusion.table import DetectionTable, Metadata
from search.engine import Engine
from search.on_cpu import cpu_fusers

SIMULATED = bool(config.ENABLE_CUDASIM)  # a simulated GPU takes its time: few examples


def make_truth(seed, images=12, categories=4, objects=60):
    rng = np.random.default_rng((seed, 1))
    corner, size = rng.uniform(0, 80, (objects, 2)), rng.uniform(8, 40, (objects, 2))
    return GroundTruth.from_arrays(
        image_id=np.arange(1, images + 1),
        category_id=np.arange(1, categories + 1),
        annotation_image_id=rng.integers(1, images + 1, objects),
        annotation_category_id=rng.integers(1, categories + 1, objects),
        xywh=np.hstack([corner, size]),
    )


def make_members(seed, count, truth=None):
    """Members that find the objects of `truth` with noise, each a little worse than the one before."""
    truth = truth or make_truth(seed)
    tables = []
    for number in range(count):
        rng = np.random.default_rng((seed, 2, number))
        found = np.flatnonzero(rng.random(len(truth)) < 0.85 - 0.08 * number)
        noise = rng.normal(0, 0.05 + 0.02 * number, (len(found), 4)) * np.tile(truth.xywh[found, 2:], 2)
        clutter = rng.integers(0, len(truth), 20)
        boxes = np.vstack([truth.xywh[found] + noise, rng.uniform(5, 40, (20, 4))])
        boxes[:, 2:] = boxes[:, 2:].clip(1)
        rows = np.concatenate([found, clutter])
        score = 1 / (1 + np.exp(-rng.normal(np.repeat([1.0, -1.0], [len(found), 20]), 1.0)))
        tables.append(
            DetectionTable.from_arrays(
                image_id=truth.image_id[truth.image[rows]],
                category_id=truth.category_id[truth.category[rows]],
                score=score * (1 - 0.1 * number),
                xywh=boxes,
                metadata=Metadata(member=f"member{number}"),
            )
        )
    return tables


def with_ties(tables, steps):
    """The same members with scores and boxes rounded, so that many are equal."""
    return [
        DetectionTable.from_arrays(
            image_id=table.image_id,
            category_id=table.category_id,
            score=np.round(table.score * steps) / steps,
            xywh=np.round(table.xywh / 4) * 4,
            metadata=table.metadata,
        )
        for table in tables
    ]


def with_corners(tables):
    """The same members with corners of two decimals, many of which x + w does not give."""
    return [
        DetectionTable.from_arrays(
            image_id=table.image_id,
            category_id=table.category_id,
            score=table.score,
            xyxy=np.round(np.hstack([table.xywh[:, :2], table.xywh[:, :2] + table.xywh[:, 2:]]), 2),
            metadata=table.metadata,
        )
        for table in tables
    ]


def drawn_too_small(tables):
    """The same members, whose boxes are too small and whose scores say nothing."""
    rng = np.random.default_rng(7)
    small = []
    for table in tables:
        x, y, w, h = table.xywh.T
        small.append(
            DetectionTable.from_arrays(
                image_id=table.image_id,
                category_id=table.category_id,
                score=rng.random(len(table)),
                xywh=np.stack([x + 0.1 * w, y + 0.1 * h, 0.8 * w, 0.8 * h], axis=1),
                metadata=table.metadata,
            )
        )
    return small


class Deadly:
    """A measure that kills its process while the file that says so exists, in candidates of one AP."""

    def __init__(self, measure, flag, rows):
        self.measure, self.flag, self.rows = measure, flag, rows

    def __call__(self, table, category_ids):
        if self.flag.exists() and len(table) == self.rows:
            if self.flag.read_text() == "once":
                self.flag.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.measure(table, category_ids)


def fusers_on(device, tables, chunks, measure, sides=None):
    """What computes nodes on a device; `measure` takes tables and category ids."""
    if device == "cpu":
        return cpu_fusers(tables, chunks, measure, sides)
    from search.on_gpu import GpuFuser

    ids = np.sort(np.concatenate(chunks))
    return [GpuFuser(tables, chunks, lambda origins: lambda answer: measure(answer.to_table(), ids))]


def table_of(device, tables, genome, sides=None):
    """What the engine hands to the evaluation."""
    [fuser] = fusers_on(device, tables, [np.arange(1, 5)], None, sides)
    result = Engine([fuser], memory=0).fuse(genome, 0)
    return fuser.table(result) if device == "cpu" else result.to_table()

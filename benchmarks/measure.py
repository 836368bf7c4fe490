"""What the fusion benchmarks share: the load as columns and as the peers want it, CPU and wall time, peak memory."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.load import Load
from fusion.columns import Columns, Fused, Sorter, fuse_in_ranges, sort_columns

MEMBERS = ("a", "b", "c", "d", "e")


class Cells(NamedTuple):
    """What a step needs of a pool."""

    columns: Columns
    members: tuple[str, ...] = MEMBERS


class Image(NamedTuple):
    """One image's boxes, as the peers want them: lists of one array per member."""

    boxes: list[np.ndarray]
    scores: list[np.ndarray]
    labels: list[np.ndarray]


def columns_of(load: Load) -> Columns:
    """Sort a load."""
    return sort_columns(load.image, load.category, load.score, load.x1, load.y1, load.x2, load.y2, load.member)


def fuse(step: Any, load: Load) -> Fused:
    """Sort and fuse a load as `fusion.apply` does."""
    if not getattr(step, "cellwise", False):
        answer: Fused = step.fuse(Cells(columns_of(load)))
        return answer
    sorter = Sorter(load.image, load.category, load.score, load.x1, load.y1, load.x2, load.y2, load.member)
    return fuse_in_ranges(sorter, lambda columns: step.fuse(Cells(columns)))[0]


def first_images(load: Load, images: int) -> Load:
    """Return the part of a load in its first images."""
    keep = load.image < images
    return Load(**{name: getattr(load, name)[keep] for name in load.__dataclass_fields__})


def images_of(load: Load, images: int, members: int = 5) -> list[Image]:
    """Boxes, scores and labels per member of each of the first images."""
    order = np.lexsort((load.member, load.image))
    corners = np.stack([load.x1, load.y1, load.x2, load.y2], axis=1)[order]
    key = load.image[order].astype(np.int64) * members + load.member[order]
    cuts = np.searchsorted(key, np.arange(images * members + 1)).tolist()
    parts = [
        [column[a:b] for a, b in itertools.pairwise(cuts)]
        for column in (corners, load.score[order], load.category[order])
    ]
    return [Image(*(part[i : i + members] for part in parts)) for i in range(0, images * members, members)]


def cpu(call: Callable[[], Any], runs: int = 5) -> float:
    """Least CPU seconds of some runs: others on the machine take caches and memory bandwidth away."""
    times = []
    for _ in range(runs):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return min(times)


def wall(call: Callable[[], Any], runs: int = 7) -> float:
    """Least wall seconds of some runs."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def sorted_rows(rows: np.ndarray) -> np.ndarray:
    """Sort rows by their columns, the first one first."""
    return rows[np.lexsort(rows.T[::-1])]


def memory_kilobytes(name: str) -> int:
    """Return a line of the process's memory: "VmRSS" now, "VmHWM" at the peak; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def reset_peak() -> None:
    """Let the peak of memory start anew."""
    Path("/proc/self/clear_refs").write_text("5")


def extra_memory(columns: Columns, step: Any) -> str:
    """Peak of memory during a step, beyond what was there, over the size of the columns."""
    if not Path("/proc/self/status").exists():
        return "peak memory: not measured on this system"
    reset_peak()
    before = memory_kilobytes("VmRSS")
    step.fuse(Cells(columns))
    peak = (memory_kilobytes("VmHWM") - before) * 1024
    size = sum(column.nbytes for column in columns)
    return f"extra peak memory {peak / 1e6:.0f} MB, {peak / size:.2f} x the columns' {size / 1e6:.0f} MB"

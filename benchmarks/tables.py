"""Whole operations from tables to a table, everything included: `python benchmarks/tables.py [--images N]`.

CPU and wall seconds with all threads, and the extra memory at the peak beside the size of the input tables.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load import make_load
from benchmarks.measure import MEMBERS, memory_kilobytes, reset_peak
from fusion import AdjNms, Concat, Consensus, DetectionTable, Nms, Nmw, SoftNms, Vote, Wbf, apply

STEPS = (Nms(), SoftNms(), AdjNms(), Wbf(), Nmw(), Vote(), Consensus(min_members=2), Concat(max_per_image=100))


def tables_of(images: int) -> list[DetectionTable]:
    """Return the load as one table per member."""
    load = make_load(images)
    tables = []
    for number, name in enumerate(MEMBERS):
        own = load.member == number
        x1, y1, x2, y2 = (getattr(load, corner)[own] for corner in ("x1", "y1", "x2", "y2"))
        table = DetectionTable.from_arrays(
            image_id=load.image[own].astype(np.int64),
            category_id=load.category[own],
            score=load.score[own],
            xywh=(x1, y1, x2 - x1, y2 - y1),
        )
        tables.append(table.with_metadata(member=name, unit="normalized"))
    return tables


def main() -> None:
    """Print a line per operator."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=5000)
    tables = tables_of(parser.parse_args().images)
    first = [table.select_images(np.arange(50)) for table in tables]
    size = sum(table.arrow.nbytes for table in tables)
    print(f"{sum(map(len, tables)):,} detections in {len(tables)} tables of {size / 1e6:.0f} MB in all")
    for step in STEPS:
        apply(step, first)  # compiles, or loads what was compiled
        reset_peak()
        before, cpu, wall = memory_kilobytes("VmRSS"), time.process_time(), time.perf_counter()
        fused = apply(step, tables)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        extra = (memory_kilobytes("VmHWM") - before) * 1024
        print(
            f"{type(step).__name__:10} {len(fused):>10,} rows; CPU {cpu:.2f} s, wall {wall:.2f} s; "
            f"extra memory {extra / 1e6:4.0f} MB, {extra / size:.2f} x the tables"
        )


if __name__ == "__main__":
    main()

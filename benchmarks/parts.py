"""Folders fused part by part: `python benchmarks/parts.py [--rows N] [--members M] [--parts 4 16 64]`.

Each line is a process of its own, which fuses members of parts of the same size: CPU seconds per million input rows,
the peak of memory above that of the process with its libraries and kernels, and how many times the input columns of
one part that is. Before it: reading with all checks and writing one table, in microseconds of CPU per row.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load import make_load
from benchmarks.measure import memory_kilobytes
from fusion import DetectionTable
from fusion.parts import fuse_files
from fusion.recipe import Recipe
from fusion.steps.nms import Nms
from fusion.steps.wbf import Wbf
from fusion.storage import part_of, read_table, write_table
from fusion.table import Part

CANVAS = 640
STEPS = {"nms": Nms(), "wbf": Wbf()}


def make_members(folder: Path, members: int, parts: int, rows: int) -> None:
    """Write folders of parts, of about `rows` rows per part and member."""
    load = make_load(max(1, rows // 97), members)
    ids = np.arange(1, parts * 3 * (int(load.image.max()) + 2))
    number = part_of(ids, parts)
    for part in range(parts):
        own = ids[number == part]
        for member in range(members):
            mine = load.member == member
            box = np.stack([load.x1[mine], load.y1[mine], load.x2[mine], load.y2[mine]], axis=1) * CANVAS
            table = DetectionTable.from_arrays(
                image_id=own[load.image[mine]],
                category_id=load.category[mine] + 1,
                score=load.score[mine],
                xywh=np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1),
            ).with_metadata(member=f"m{member}")
            place = folder / f"m{member}" / f"part-{part:05d}.parquet"
            write_table(table, place, part=Part(rule="id", count=parts, number=part))


def fuse(folder: Path, members: int, parts: int, method: str) -> None:
    """Fuse them and print what it took."""
    recipe = Recipe.chain([STEPS[method]])
    inputs = [folder / f"m{member}" for member in range(members)]
    make_members(folder / "few", members, 2, 1000)
    fuse_files(recipe, [folder / "few" / path.name for path in inputs], folder / f"warm-{method}")  # loads kernels
    with Path("/proc/self/clear_refs").open("w") as reset:
        reset.write("5")  # VmHWM begins anew
    base = memory_kilobytes("VmRSS")
    cpu = time.process_time()
    report = fuse_files(recipe, inputs, folder / f"out-{method}")
    cpu = time.process_time() - cpu
    peak = memory_kilobytes("VmHWM")
    tables = [read_table(path / "part-00000.parquet") for path in inputs]
    columns = sum(table.arrow.nbytes for table in tables) / 1024
    print(
        f"{method:12} {parts:3} parts: {report.detections_in / 1e6:6.2f} M rows,"
        f" {cpu / report.detections_in * 1e6:5.2f} CPU s per M; memory {peak / 1024:5.0f} MB,"
        f" {(peak - base) / 1024:5.0f} MB above {base / 1024:4.0f}; "
        f" {(peak - base) / columns:4.2f} times the columns of a part",
        flush=True,
    )


def storing(folder: Path, rows: int) -> None:
    """Print what reading and writing cost."""
    make_members(folder, 1, 1, rows)
    path = folder / "m0" / "part-00000.parquet"
    read_table(path)
    cpu = time.process_time()
    for _ in range(3):
        table = read_table(path)
    reading = (time.process_time() - cpu) / 3 / len(table) * 1e6
    write_table(table, folder / "again.parquet")
    cpu = time.process_time()
    for _ in range(3):
        write_table(table, folder / "again.parquet")
    writing = (time.process_time() - cpu) / 3 / len(table) * 1e6
    size = path.stat().st_size / len(table)
    print(
        f"{len(table):,} rows: reading {reading:.2f}, writing {writing:.2f} us of CPU per row; {size:.1f} bytes per row"
    )


def main() -> None:
    """Make the tables, then run every phase in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=250_000, help="per part and member")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--parts", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--methods", nargs="+", default=["nms", "wbf"])
    parser.add_argument("--phase", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.phase:
        folder, members, parts, method = given.phase
        return fuse(Path(folder), int(members), int(parts), method)
    with tempfile.TemporaryDirectory() as place:
        storing(Path(place) / "storing", given.rows)
        for parts in given.parts:
            folder = Path(place) / str(parts)
            make_members(folder, given.members, parts, given.rows)
            for method in given.methods:
                arguments = [str(folder), str(given.members), str(parts), method]
                subprocess.run([sys.executable, __file__, "--phase", *arguments], check=True)
    return None


if __name__ == "__main__":
    main()

"""What engines add, and growth with processes: `python -m benchmarks.engines [--rows 50000] [--parts 16]`.

CPU seconds are those of all processes together, this one's too. Of each engine with one and two processes: starting it,
per part that does nothing, and per million input rows of a fusion by NMS, start and empty parts being subtracted.
"By CPU" is how many times as fast as the serial run so many processes are if each has a core of its own; "by wall" is
what it was, both in one run.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil

import quorum
from benchmarks.clusters import dask_cluster, ray_cluster
from benchmarks.parts import make_members
from fusion.engines import engine_of
from fusion.parts import fuse_files
from fusion.recipe import Recipe
from fusion.steps.nms import Nms

assert quorum
RECIPE = Recipe.chain([Nms()])
EMPTY = 200


def cpu_seconds() -> float:
    """Return the CPU time of this process and of all below it, also of those that have ended."""
    total = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    for process in psutil.Process().children(recursive=True):
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


def spent(action: Callable[[], object]) -> tuple[float, float]:
    """Return CPU and wall seconds of an action."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    action()
    return cpu_seconds() - cpu, time.perf_counter() - wall


@contextmanager
def options(name: str, processes: int) -> Iterator[dict[str, object]]:
    """Yield the options of `fuse_files` for an engine."""
    if name in ("dask", "ray"):
        with (dask_cluster if name == "dask" else ray_cluster)(processes) as address:
            yield {"workers": None, "executor": address}
    else:
        with nullcontext():
            yield {"workers": processes, "executor": None}


def measure(name: str, processes: int, folder: Path, inputs: list[Path], parts: int) -> tuple[float, ...]:
    """Return CPU seconds of the start, of an empty part and of the fusion, and wall seconds of the fusion."""
    with options(name, processes) as chosen:
        engine = engine_of(**chosen)  # type: ignore[arg-type]
        assert engine is not None

        def empty(count: int) -> None:
            assert len(list(engine(abs, range(count)))) == count

        def fuse(output: str) -> None:
            fuse_files(RECIPE, inputs, folder / f"{output}-{name}{processes}", **chosen)  # type: ignore[arg-type]

        empty(processes)  # what a cluster loads once
        start, start_wall = spent(lambda: empty(processes))
        many, _ = spent(lambda: empty(processes + EMPTY))
        each = max(many - start, 0.0) / EMPTY
        fuse("warm")
        cpu, wall = spent(lambda: fuse("out"))
    return start, each, cpu - start - each * parts, wall - start_wall


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--rows", type=int, default=50_000, help="per part and member")
    parser.add_argument("--parts", type=int, default=16)
    given = parser.parse_args()
    os.environ["QUORUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_members(folder, given.members, given.parts, given.rows)
        inputs = [folder / f"m{number}" for number in range(given.members)]
        fuse_files(RECIPE, inputs, folder / "warm")
        reports = []
        serial, serial_wall = spent(lambda: reports.append(fuse_files(RECIPE, inputs, folder / "serial")))
        millions = reports[0].detections_in / 1e6
        print(f"{millions:.2f} M rows, {given.parts} parts")
        print("| engine | processes | start, CPU s | empty part, CPU ms | CPU s per M rows | by CPU | by wall |")
        print("|---|---|---|---|---|---|---|")
        print(f"| none | 1 | | | {serial / millions:.2f} | 1 | 1 |")
        for name, processes in (("workers", 2), ("dask", 1), ("dask", 2), ("ray", 1), ("ray", 2)):
            start, each, own, wall = measure(name, processes, folder, inputs, given.parts)
            print(
                f"| {name} | {processes} | {start:.2f} | {1000 * each:.1f} | {own / millions:.2f} |"
                f" {processes * serial / own:.2f} | {serial_wall / wall:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

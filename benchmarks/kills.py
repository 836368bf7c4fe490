"""Processes killed at random moments: `python -m benchmarks.kills [--kills 200] [--engines shards workers dask ray]`.

Each engine fuses two folders of parts again and again. Meanwhile a process that is at a part is killed with SIGKILL, up
to three times a run: who holds the lock of a part is at it, and the kill comes up to 30 ms later. Killed shares are
started again, as a scheduler of jobs does; workers and clusters see to it themselves. Then every part must be there,
once, with the bytes of the serial run.
"""

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import quorum
from benchmarks.clusters import dask_cluster, ray_cluster
from fusion.errors import InputError
from fusion.parts import fuse_files
from fusion.recipe import Recipe
from fusion.shards import Shard
from fusion.steps.nms import Nms
from fusion.storage import write_table
from fusion.table import DetectionTable

assert quorum
RECIPE = Recipe.chain([Nms()])
PARTS, ROWS, EACH = 12, 120_000, 3
_LATEST = 0.03  # seconds between seeing a process at a part and its end
_SHARES = 2


def member(name: str, seed: int) -> DetectionTable:
    """Draw a table."""
    rng = np.random.default_rng(seed)
    return DetectionTable.from_arrays(
        image_id=rng.integers(1, 1000, ROWS),
        category_id=rng.integers(1, 4, ROWS),
        score=rng.random(ROWS),
        xywh=np.concatenate([rng.random((ROWS, 2)) * 500, 20 + rng.random((ROWS, 2)) * 90], axis=1),
    ).with_metadata(member=name)


def at_work(folder: Path) -> list[int]:
    """Return the processes that hold the lock of a part."""
    inodes = set()
    for lock in folder.glob("*.unfinished/.part-*.lock"):
        try:
            inodes.add(str(lock.stat().st_ino))
        except FileNotFoundError:  # it has been put in place
            continue
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [int(line[4]) for line in lines if line[5].rpartition(":")[2] in inodes and int(line[4]) > 0]


class Killer:
    """Kills processes that are at a part of an output in a folder, some a run."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng, self.kills = folder, np.random.default_rng(seed), 0

    @contextmanager
    def about(self, most: int) -> Iterator[None]:
        """Kill up to so many inside the block."""
        over = threading.Event()
        thread = threading.Thread(target=self._kill, args=(most, over))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _kill(self, most: int, over: threading.Event) -> None:
        while most and not over.is_set():
            victims = [pid for pid in at_work(self.folder) if pid != os.getpid()]
            if not victims:
                time.sleep(0.001)
                continue
            time.sleep(self.rng.random() * _LATEST)
            try:
                os.kill(int(self.rng.choice(victims)), signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.kills += 1
            most -= 1
            over.wait(self.rng.random())


def shares(inputs: list[Path], output: Path) -> None:
    """Make an output by processes with a share each; a killed one is started again."""
    context = multiprocessing.get_context("fork")

    def start(number: int) -> multiprocessing.process.BaseProcess:
        shard = Shard(number, _SHARES)
        one = context.Process(target=fuse_files, args=(RECIPE, inputs, output), kwargs={"shard": shard})
        one.start()
        return one

    running = {number: start(number) for number in range(_SHARES)}
    while running:
        for number, one in list(running.items()):
            one.join(0.01)
            if one.exitcode == 0:
                del running[number]
            elif one.exitcode is not None:
                running[number] = start(number)


@contextmanager
def engine(name: str) -> Iterator[Callable[[list[Path], Path], object]]:
    """Yield what makes an output of inputs."""
    if name == "shards":
        yield shares
    elif name == "workers":
        yield lambda inputs, output: fuse_files(RECIPE, inputs, output, workers=2)
    else:
        with (dask_cluster if name == "dask" else ray_cluster)(2) as address:
            yield lambda inputs, output: fuse_files(RECIPE, inputs, output, executor=address)


def wrong(output: Path, expected: dict[str, bytes]) -> tuple[int, int, int]:
    """Count parts that are lost, that are there and should not be, and that have other bytes."""
    found = {path.name: path.read_bytes() for path in output.iterdir()}
    changed = sum(found[name] != content for name, content in expected.items() if name in found)
    return len(expected.keys() - found.keys()), len(found.keys() - expected.keys()), changed


def main() -> None:
    """Kill, and count what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--engines", nargs="+", default=["shards", "workers", "dask", "ray"])
    given = parser.parse_args()
    if len(given.engines) > 1:  # each in a process of its own: some leave threads behind
        for name in given.engines:
            share = -(-given.kills // len(given.engines))
            call = [sys.executable, "-m", "benchmarks.kills", "--kills", str(share), "--engines", name]
            subprocess.run(call, check=True)
        return
    [name] = given.engines
    os.environ["QUORUM_THREADS"] = "1"  # no threads, which a fork does not have
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        inputs = [folder / "a", folder / "b"]
        for seed, path in enumerate(inputs):
            write_table(member(path.name, seed), path, parts=PARTS)
        fuse_files(RECIPE, inputs, folder / "serial")
        expected = {path.name: path.read_bytes() for path in (folder / "serial").iterdir()}
        killer, runs, refused, bad = Killer(folder, len(name)), 0, 0, np.zeros(3, int)
        with engine(name) as make:
            while killer.kills < given.kills:
                runs += 1
                output = folder / f"out{runs}"
                with killer.about(min(EACH, given.kills - killer.kills)):
                    while not output.exists():
                        try:
                            make(inputs, output)
                        except InputError as error:  # the same part was hit three times: the same call goes on
                            if "died" not in str(error) and "again and again" not in str(error):
                                raise
                            refused += 1
                bad += wrong(output, expected)
                left = [path.name for path in folder.iterdir() if path.name.startswith((f"{output.name}.", "."))]
                assert not left, left
        print(
            f"{name:8} {killer.kills:4} kills in {runs:3} runs of {PARTS} parts: {bad[0]} lost, {bad[1]} doubled,"
            f" {bad[2]} changed; {refused} calls ended because a part was hit too often, and were repeated",
            flush=True,
        )


if __name__ == "__main__":
    main()

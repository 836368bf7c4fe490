"""Where candidates are run: in this process, or in several on this machine."""

from __future__ import annotations

import json
import mmap
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from fusion.errors import InputError, option
from fusion.workers import Workers
from search.engine import Engine, Outcome
from search.genome import Genome
from search.on_cpu import CpuFuser
from search.pruning import Incumbent

__all__ = ["Evaluator", "Processes", "Serial"]

_PLAN, _ARRAYS, _SIZES = "plan.pickle", "arrays.bin", "sizes.json"
_ALIGNMENT = 64


class Evaluator(Protocol):
    """Runs batches of candidates."""

    def run(self, genomes: Sequence[Genome], incumbent: Incumbent | None) -> Iterator[Outcome]:
        """Yield what became of each candidate, in order."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Serial:
    """One engine in this process."""

    def __init__(self, engine: Engine[Any]) -> None:
        """Take the engine."""
        self.engine = engine

    def run(self, genomes: Sequence[Genome], incumbent: Incumbent | None) -> Iterator[Outcome]:
        """Yield what became of each candidate, in order."""
        for genome in genomes:
            yield self.engine.evaluate(genome, incumbent)

    def close(self) -> None:
        """Nothing is held outside."""


class Processes:
    """An engine in each of several processes, which share the members' columns in memory-mapped files.

    A process that is killed costs the candidates it was at work on, and they are run again; one that takes a process
    down three times is refused.
    """

    def __init__(self, fusers: Sequence[CpuFuser], folder: Path, *, workers: int, memory: int) -> None:
        """Write the members where the processes can map them, and start the processes.

        Args:
            fusers: From `cpu_fusers`, with a measure that can be pickled.
            folder: For the files; exists.
            workers: Number of processes.
            memory: Bytes that kept results may take in each.

        Raises:
            InputError: If there is no room for the files.
        """
        try:
            _share((fusers, memory), folder)
        except OSError as error:
            raise InputError(
                folder,
                f"the members could not be written there for the workers: {error.strerror or error}",
                f"Free some room, set TMPDIR to a place that has some, or leave out {option('workers')}",
            ) from error
        remedy = f"Is there too little memory? Try fewer {option('workers')} or less {option('memory')}"
        self._workers = Workers(workers, "search", remedy, _begin, folder)

    def run(self, genomes: Sequence[Genome], incumbent: Incumbent | None) -> Iterator[Outcome]:
        """Yield what became of each candidate, in order."""
        candidates = [(genome, incumbent) for genome in genomes]
        done = dict(self._workers.run(_run, candidates, lambda one: f"running {one[0].encode().decode()}"))
        yield from (done[number] for number in range(len(genomes)))

    def close(self) -> None:
        """End the processes."""
        self._workers.close()

    @property
    def pids(self) -> list[int]:
        """Ids of the processes under way."""
        return self._workers.pids


def _share(value: Any, folder: Path) -> None:
    """Write an object so that processes can map its arrays."""
    buffers: list[pickle.PickleBuffer] = []
    (folder / _PLAN).write_bytes(pickle.dumps(value, protocol=5, buffer_callback=buffers.append))
    sizes = []
    with (folder / _ARRAYS).open("wb") as file:
        for buffer in buffers:
            raw = buffer.raw()
            file.write(raw)
            file.write(bytes(-raw.nbytes % _ALIGNMENT))
            sizes.append(raw.nbytes)
        file.write(bytes(_ALIGNMENT))  # an empty file cannot be mapped
    (folder / _SIZES).write_text(json.dumps(sizes), encoding="utf-8")


def _shared(folder: Path) -> Any:
    """Read what `_share` has written; its arrays are one copy for all processes as long as nobody writes to them."""
    with (folder / _ARRAYS).open("rb") as file:
        # kernels are compiled for memory that may be written to
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    parts, begin = [], 0
    for size in json.loads((folder / _SIZES).read_text(encoding="utf-8")):
        parts.append(whole[begin : begin + size])
        begin += size + -size % _ALIGNMENT
    return pickle.loads((folder / _PLAN).read_bytes(), buffers=parts)


_engine: Engine[Any] | None = None


def _begin(folder: Path) -> None:
    global _engine
    fusers, memory = _shared(folder)
    _engine = Engine(fusers, memory=memory)


def _run(candidate: tuple[Genome, Incumbent | None]) -> Outcome:
    if _engine is None:
        raise RuntimeError("the worker was not set up")
    return _engine.evaluate(*candidate)

"""Where candidates are run: in this process, or in several on this machine."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from fusion.errors import InputError
from fusion.table import DetectionTable
from search.engine import Engine, Measure, Outcome
from search.genome import Genome
from search.pruning import Incumbent

__all__ = ["Evaluator", "Processes", "Serial", "chunked"]

_ATTEMPTS = 3

Members = Sequence[Sequence[DetectionTable]]
"""Tables of each chunk of categories: one per member."""


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

    def __init__(self, engine: Engine) -> None:
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

    def __init__(
        self,
        members: Members,
        measure: Measure,
        chunks: Sequence[np.ndarray],
        folder: Path,
        *,
        workers: int,
        memory: int,
    ) -> None:
        """Write the members where the processes can map them, and start the processes.

        Args:
            members: Tables of each chunk.
            measure: Tells the AP per category; can be pickled.
            chunks: Category ids of each chunk.
            folder: For the files; exists.
            workers: Number of processes.
            memory: Bytes that kept results may take in each.
        """
        for number, tables in enumerate(members):
            for leaf, table in enumerate(tables):
                with (
                    pa.OSFile(str(_file(folder, number, leaf)), "wb") as sink,
                    pa.ipc.new_file(sink, table.arrow.schema) as writer,
                ):
                    writer.write_table(table.arrow)
        metadata = [table.metadata for table in members[0]]
        plan = folder / "plan.pickle"
        plan.write_bytes(pickle.dumps((metadata, measure, [np.asarray(ids) for ids in chunks], memory)))
        self._arguments = (folder, plan)
        self._workers = workers
        self._pool = self._start()

    def run(self, genomes: Sequence[Genome], incumbent: Incumbent | None) -> Iterator[Outcome]:
        """Yield what became of each candidate, in order."""
        futures: dict[int, Future[Outcome]] = {}
        attempts = dict.fromkeys(range(len(genomes)), 0)
        done: dict[int, Outcome] = {}
        while len(done) < len(genomes):
            missing = [number for number in attempts if number not in done and number not in futures]
            try:
                for number in missing:
                    futures[number] = self._pool.submit(_run, genomes[number], incumbent)
                    attempts[number] += 1
                for number in sorted(futures):
                    done[number] = futures[number].result()
                    del futures[number]
            except BrokenProcessPool:
                futures.clear()
                worst = max(attempts, key=lambda number: (number not in done, attempts[number]))
                if attempts[worst] >= _ATTEMPTS:
                    raise InputError(
                        "search",
                        f"a worker process died {_ATTEMPTS} times while running {genomes[worst].encode().decode()}",
                        "Is there too little memory? Try fewer --workers or less --memory",
                    ) from None
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = self._start()
        yield from (done[number] for number in range(len(genomes)))

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def pids(self) -> list[int]:
        """Ids of the processes under way."""
        return list(self._pool._processes or {})

    def _start(self) -> ProcessPoolExecutor:
        # spawned: threads of the parent's kernels do not survive a fork
        return ProcessPoolExecutor(
            self._workers, mp_context=get_context("spawn"), initializer=_begin, initargs=self._arguments
        )


def chunked(tables: Sequence[DetectionTable], chunks: Sequence[np.ndarray]) -> list[list[DetectionTable]]:
    """Return the members' rows of each chunk of categories."""
    if len(chunks) == 1:
        return [list(tables)]
    return [[table.select_categories(ids) for table in tables] for ids in chunks]


def _file(folder: Path, chunk: int, leaf: int) -> Path:
    return folder / f"chunk{chunk}-leaf{leaf}.arrow"


_engine: Engine | None = None


def _begin(folder: Path, plan: Path) -> None:
    """Set up a worker process."""
    global _engine
    metadata, measure, chunks, memory = pickle.loads(plan.read_bytes())
    members = []
    for chunk in range(len(chunks)):
        arrow = [
            pa.ipc.open_file(pa.memory_map(str(_file(folder, chunk, leaf)))).read_all() for leaf in range(len(metadata))
        ]
        members.append([DetectionTable(columns, meta) for columns, meta in zip(arrow, metadata, strict=True)])
    _engine = Engine(members, measure, chunks, memory=memory)


def _run(genome: Genome, incumbent: Incumbent | None) -> Outcome:
    if _engine is None:
        raise RuntimeError("the worker was not set up")
    return _engine.evaluate(genome, incumbent)

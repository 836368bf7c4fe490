"""Which device runs the candidates of a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fusion.errors import InputError, option
from fusion.run import settle
from search.engine import Engine
from search.evaluators import Evaluator, Processes, Serial
from search.on_cpu import CpuFuser, cpu_fusers
from search.problem import CategoryAp, Problem, Side

if TYPE_CHECKING:
    from fusion.cuda.resident import Origins
    from search.on_gpu import Measure

__all__ = ["fusers_of", "measure_on_gpu", "open_evaluator", "settle_device"]


def settle_device(device: str, workers: int) -> tuple[str, tuple[str, ...]]:
    """Find out beforehand whether a device can be used.

    Args:
        device: "cpu", "cuda", or "auto" for the GPU where there is one.
        workers: Number of processes that run candidates.

    Returns:
        The device to use, "cpu" for "auto" where the GPU cannot be used, and a note that says why, if so.

    Raises:
        InputError: If it is none of the names, or "cuda" and cannot be used.
    """
    alone = f"a GPU runs trials one at a time, and --workers is {workers}"
    if device == "cuda" and workers > 1:
        raise InputError(f"option {option('device')}", alone, "Leave out --workers, or use --device cpu")
    device, said = settle(device)
    if device == "auto" and workers > 1:
        return "cpu", (f"fused on the CPU: {alone}",)
    return device, said


def open_evaluator(
    problem: Problem, folder: Path, *, device: str, workers: int, memory: int
) -> tuple[Evaluator, tuple[str, ...]]:
    """Prepare what runs the candidates.

    Args:
        problem: What is searched on.
        folder: For files that worker processes share; exists.
        device: From `settle_device`.
        workers: Number of processes.
        memory: Bytes that kept results may take, in each process or on the GPU.

    Returns:
        The evaluator, and a note where "auto" went to the CPU.

    Raises:
        InputError: If the device is "cuda" and its memory is too small.
    """
    said: tuple[str, ...] = ()
    if device != "cpu":
        try:
            return _on_gpu(problem, memory), ()
        except InputError as error:
            if device == "cuda":
                raise
            said = (f"fused on the CPU: {error.problem}",)
    fusers = fusers_of(problem)
    if workers == 1:
        return Serial(Engine(fusers, memory=memory)), said
    return Processes(fusers, folder, workers=workers, memory=memory), said


def fusers_of(problem: Problem) -> list[CpuFuser]:
    """Return what computes the nodes of candidates on the CPU."""
    members, measure = problem.preparation.tables, CategoryAp(problem.search.prepared)
    return cpu_fusers(members, problem.chunks, measure, problem.sides)


def _on_gpu(problem: Problem, memory: int) -> Serial:
    from search.on_gpu import GpuFuser

    if problem.sides is not None:
        raise InputError(
            "device cuda", "members weighted by side are fused on the CPU alone", f"Use {option('device', 'cpu')}"
        )
    members = problem.preparation.tables
    fuser = GpuFuser(members, problem.chunks, lambda origins: measure_on_gpu(problem.search, origins))
    return Serial(Engine([fuser], memory=min(memory, fuser.room)))


def measure_on_gpu(side: Side, origins: Origins) -> Measure:
    """Return what tells the AP of detections that are on the GPU.

    Args:
        side: The split that they are measured on.
        origins: What they refer to.
    """
    from evaluation.cuda.prepared import prepare_on_gpu

    prepared = prepare_on_gpu(side.prepared, origins)
    if prepared is not None:
        return prepared.average_precision_per_category
    measure = CategoryAp(side.prepared)
    return lambda answer: measure(answer.to_table(), side.category_ids)

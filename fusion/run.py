"""Running steps: on the CPU, on the GPU, or on the GPU if there is one."""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fusion.checks import one_of
from fusion.errors import InputError
from fusion.on_cpu import fuse_tables, trace
from fusion.pool import Tables
from fusion.steps import name_of
from fusion.steps.base import Step
from fusion.table import DetectionTable

if TYPE_CHECKING:
    from fusion.cuda.session import Session
    from fusion.cuda.stream import TableStream

__all__ = ["DEVICES", "apply", "open_session", "settle", "trace"]

DEVICES = ("auto", "cpu", "cuda")

_said: set[str] = set()


def apply(step: Step, tables: Tables, *, device: str = "cpu") -> DetectionTable:
    """Run one step on tables.

    Args:
        step: The step.
        tables: One table or several.
        device: "cpu", "cuda", or "auto" for the GPU where there is one.

    Raises:
        InputError: If the tables do not go together, the step refuses them, or the device cannot be used.
    """
    inputs = (tables,) if isinstance(tables, DetectionTable) else tuple(tables)
    session = open_session(device, inputs, [step])
    if session is not None:
        return session.fuse(lambda run, inputs: run(step, inputs))
    return fuse_tables(step, inputs)


def settle(device: str, steps: Sequence[Step] = ()) -> tuple[str, tuple[str, ...]]:
    """Find out beforehand whether a device can be used.

    Args:
        device: One of `DEVICES`.
        steps: What is to be done there.

    Returns:
        The device to use, "cpu" for "auto" where there is no GPU, and notes: why, if so, and which of the steps run on
        the CPU all the same, as they have no twin on the GPU.

    Raises:
        InputError: If it is none of the names, or "cuda" and there is no GPU to be used; the message says why.
    """
    one_of("device", device, DEVICES)
    try:
        if device != "cpu":
            _require_gpu()
    except InputError as error:
        if device == "cuda":
            raise
        return "cpu", (f"fused on the CPU: {error.problem}",)
    notes = () if device == "cpu" else _without_twin(steps)
    _said.update(notes)
    return device, notes


def open_session(
    device: str, tables: Sequence[DetectionTable], steps: Sequence[Step]
) -> "Session | TableStream | None":
    """Prepare the GPU for a fusion of some tables.

    Args:
        device: One of `DEVICES`.
        tables: All tables that will be fused.
        steps: All steps of the fusion.

    Returns:
        What does the work on the GPU, or None where the CPU should. With "auto" that is so without a usable GPU or with
        too little memory on it; a warning says so, once for each reason, and so for steps without a twin on the GPU.

    Raises:
        InputError: If the device has another name, or is "cuda" and cannot be used.
    """
    one_of("device", device, DEVICES)
    if device == "cpu":
        return None
    try:
        _require_gpu()
        from fusion.cuda.stream import open_on_gpu

        session = open_on_gpu(tables, steps)
    except InputError as error:
        if device == "cuda":
            raise
        if error.problem not in _said:
            _said.add(error.problem)
            warnings.warn(f"Fusing on the CPU: {error.problem}", stacklevel=3)
        return None
    for note in _without_twin(steps):
        if note not in _said:
            _said.add(note)
            warnings.warn(note, stacklevel=3)
    return session


def _without_twin(steps: Sequence[Step]) -> tuple[str, ...]:
    from fusion.cuda.steps import BEYOND, twin_of

    alone = [step for step in steps if twin_of(step) is None]
    names = sorted(
        {
            " ".join([name_of(step), *(said for name, said in BEYOND.items() if getattr(step, name, None))])
            for step in alone
        }
    )
    return tuple(f"{name} runs on the CPU: it has no twin on the GPU" for name in names)


def _require_gpu() -> None:
    """Refuse with the reason where CUDA cannot be used."""
    from numba import config

    if config.ENABLE_CUDASIM:  # kernels run in Python, for tests
        return
    if find_spec("numba_cuda") is None:
        raise InputError(
            "device cuda",
            "the package numba-cuda is not installed",
            'Install the extra: pip install "quorum-detection[gpu]"; or use --device cpu',
        )
    from fusion.cuda.kernels.device import failure

    error = failure()
    if error is not None:
        raise InputError("device cuda", *_reason(error)) from error


def _reason(error: Exception) -> tuple[str, str]:
    """What is wrong with the driver, and what to do."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = lines[0].rstrip(":.") if lines else type(error).__name__
    if "INSUFFICIENT_DRIVER" in text or "version" in text.lower():
        return (
            f"the NVIDIA driver is too old for CUDA 13 ({said})",
            "Update the driver to 580 or newer; or use --device cpu",
        )
    if "MEMORY" in text:
        return f"the GPU has no memory left ({said})", "See nvidia-smi for who uses it; or use --device cpu"
    return f"no GPU can be used ({said})", "See that nvidia-smi lists one; or use --device cpu"

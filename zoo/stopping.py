"""What ends a training before its time: the user, numbers that are none any more, memory that runs out."""

import contextlib
import math
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from fusion.errors import InputError
from fusion.terminal import stderr
from zoo.runs import write_json

__all__ = ["asked_to_stop", "is_out_of_memory", "refuse_step"]


@contextlib.contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """Give a list that gets the first Ctrl-C or SIGTERM; the second Ctrl-C stops at once.

    A signal that the block ignores in the end stays ignored.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stderr.print("stopping after this step; Ctrl-C once more stops at once", style="dim")

    try:
        for number in before:
            signal.signal(number, note)
        yield asked
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, handler)


def refuse_step(
    what: str,
    values: Mapping[str, float],
    image_ids: Sequence[int | str],
    *,
    step: int,
    learning_rate: float,
    config: Any,
    path: Path,
) -> None:
    """Stop because of numbers that are not finite, and leave behind what it takes to find out why.

    Raises:
        InputError: Always.
    """
    shown = {name: str(value) for name, value in values.items()}
    report = {"step": step, "learning_rate": learning_rate, "image_ids": list(image_ids), "values": shown}
    write_json(report | {"config": config}, path)
    bad = ", ".join(f"{name} {value}" for name, value in values.items() if not math.isfinite(value))
    raise InputError(
        f"step {step}",
        f"{what} is no finite number any more ({bad})",
        "Lower train.learning_rate, lengthen train.warmup_steps or set train.clip=35; "
        f"the images and settings of this step are in {path}",
    )


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error means that memory ran out, on a graphics card or beside it."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)

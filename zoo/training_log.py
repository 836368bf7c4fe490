"""The figures of a training as it goes: a CSV file, TensorBoard where wanted, and a line or bar on the terminal."""

import contextlib
import csv
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from fusion.appending import append_lines, cut_torn_line
from fusion.atomic import replacing
from fusion.errors import InputError
from fusion.terminal import notes, progress_bar, stderr

__all__ = ["TrainingLog"]

_EVERY = 20  # steps between rows
_SECONDS_BETWEEN_LINES = 30.0


class TrainingLog:
    """Rows of means over steps; `log.csv` in the folder of a training.

    Args:
        folder: Of the training.
        step: Steps that are done already; later rows of an interrupted run are dropped, the others stay.
        total: Steps of the schedule.
        tensorboard: Also write TensorBoard's event files to `folder/tensorboard`.

    Raises:
        InputError: If TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path, step: int, total: int, *, tensorboard: bool = False) -> None:
        self.latest: dict[str, float] = {}
        self._path, self._step, self._total = folder / "log.csv", step, total
        self._rows = _rows_until(self._path, step)
        self._names = _names_of(self._rows)
        self._sums: dict[str, float] = {}
        self._count, self._since = 0, time.perf_counter()
        self._started, self._first, self._spoken = self._since, step, self._since
        self._board = _board(folder / "tensorboard", step) if tensorboard else None
        self._bar = progress_bar()
        self._task = self._bar.add_task("training", total=total, completed=step)

    def __enter__(self) -> "TrainingLog":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with contextlib.suppress(*(() if error is None else (InputError,))):  # what ended the training comes first
                self.flush()
        finally:
            self._bar.stop()
        if self._board is not None:
            self._board.close()

    def add(self, step: int, values: Mapping[str, float], shown: Mapping[str, float]) -> None:
        """Take in a step.

        Args:
            step: Number of steps done.
            values: Averaged over the steps of a row.
            shown: Written as they are at the row's last step.
        """
        self._step, self._count = step, self._count + 1
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._shown = dict(shown)
        self._bar.update(self._task, completed=step, description=f"loss {values['loss']:.3f}")
        if step % _EVERY == 0 or step == self._total:
            self.flush()

    def flush(self) -> None:
        """Write a row of the steps since the last one."""
        if not self._count:
            return
        now = time.perf_counter()
        self.latest = {name: value / self._count for name, value in self._sums.items()}
        row = {"step": self._step, **self._shown, **self.latest, "step_seconds": (now - self._since) / self._count}
        self._sums, self._count, self._since = {}, 0, now
        self._rows.append({name: _text(value) for name, value in row.items()})
        self._write()
        if self._board is not None:
            for name, value in row.items():
                self._board.add_scalar(name, value, self._step)
        if not stderr.is_terminal and now - self._spoken > _SECONDS_BETWEEN_LINES:
            self._spoken = now
            left = (now - self._started) / (self._step - self._first) * (self._total - self._step)
            stderr.print(
                f"step {self._step} of {self._total}, loss {self.latest['loss']:.3f}, "
                f"{timedelta(seconds=round(left))} left",
                highlight=False,
            )

    def _write(self) -> None:
        new = self._rows[-1]
        if not self._path.exists() or not set(self._names).issuperset(new):  # the first row, or a loss has come
            self._names = _names_of(self._rows)
            _replace(self._path, self._rows)
            return
        append_lines(
            self._path,
            _csv([new], self._names, header=False).encode(),
            "The rows and the checkpoint before are whole; free some room and go on with --resume",
        )


def _text(value: float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _rows_until(path: Path, step: int) -> list[dict[str, str]]:
    """Rows of an earlier run up to a step; the file then has just those."""
    if not path.exists():
        return []
    torn = cut_torn_line(path)
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(file, restval=""))
    whole = [row for row in rows if None not in row and row.get("step", "").isdecimal()]
    kept = [row for row in whole if int(row["step"]) <= step]
    if torn or len(whole) < len(rows):
        notes(path, [f"rows that were not whole were dropped: {bool(torn) + len(rows) - len(whole)}"])
    if len(kept) < len(rows):
        _replace(path, kept)
    return kept


def _replace(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(_csv(rows, _names_of(rows), header=bool(rows)).encode())


def _names_of(rows: Iterable[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _csv(rows: Iterable[Mapping[str, str]], names: Sequence[str], *, header: bool) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, restval="")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("option --tensorboard", "TensorBoard is not installed", "pip install tensorboard") from error
    return SummaryWriter(str(folder), purge_step=step)

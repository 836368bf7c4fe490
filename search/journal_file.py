"""Optuna's journal in a file of lines, of which a full disk or a power cut may tear one, and no more are lost."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from fusion.appending import append_lines
from fusion.atomic import replacing
from fusion.errors import InputError, option

__all__ = ["JournalFile"]

_BEGINNING = b'{"op_code":'
_CREATE_STUDY, _CREATE_TRIAL = 0, 4


class JournalFile(JournalFileBackend):  # type: ignore[misc]
    """A journal whose lines are whole: what was torn is dropped when it is opened, and never appended to.

    Args:
        path: The file; several processes and machines may share it.

    Raises:
        InputError: If the file is something else, or its beginning is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._guard = path, JournalFileSymlinkLock(str(path))
        self.notes: tuple[str, ...] = ()
        with self._alone():
            if path.exists():
                self.notes = _mend(path)
            super().__init__(str(path), self._guard)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append operations, one a line.

        Raises:
            InputError: If the disk is full; the file is then as it was.
        """
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._alone():
            append_lines(
                self._path,
                lines.encode(),
                f"Every trial before this one is kept; free some room and go on with {option('resume')}",
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others that share the file from writing."""
        try:
            self._guard.acquire()
        except OSError as error:
            raise InputError(
                self._path, f"could not be written: {error.strerror or error}", "Free some room or choose another place"
            ) from error
        try:
            yield
        finally:
            self._guard.release()


def _mend(path: Path) -> tuple[str, ...]:
    """Drop the lines that are not whole; return what is to be said of them."""
    data = path.read_bytes()
    if not data.startswith(_BEGINNING[: len(data)]):
        raise InputError(path, "is no journal of a search", "Choose another name")
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    codes = [_code(line) for line in lines]
    whole = [line for line, code in zip(lines, codes, strict=True) if code is not None]
    kept = b"".join(whole)
    if kept == data:
        return ()
    if whole and _code(whole[0]) != _CREATE_STUDY:
        raise InputError(path, "its beginning is damaged, and its trials cannot be read without", "Remove it")
    if data.startswith(kept):
        with path.open("rb+") as file:
            file.truncate(len(kept))
    else:
        with replacing(path) as temporary:
            temporary.write_bytes(kept)
    torn = sum(code is None and bool(line) for line, code in zip(lines, codes, strict=True))
    trials = codes.count(_CREATE_TRIAL)
    what = "a line was" if torn == 1 else f"{torn} lines were"
    return (
        f"{what} not whole, as a full disk or a power cut leaves them; {len(data) - len(kept):,} bytes were dropped, "
        f"{trials:,} trials were kept",
    )


def _code(line: bytes) -> int | None:
    """Return which operation a line is; None if it is not whole."""
    try:
        operation = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    code = operation.get("op_code") if isinstance(operation, dict) else None
    return code if isinstance(code, int) else None

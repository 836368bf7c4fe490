"""Files that grow line by line: what a full disk or a power cut tears is cut before the next line is written."""

import os
from pathlib import Path
from typing import IO

from fusion.errors import InputError

__all__ = ["append_lines", "cut_torn_line"]

_STRIDE = 1 << 16


def append_lines(path: str | os.PathLike[str], lines: bytes, remedy: str) -> None:
    """Append whole lines to a file, and sync them to disk; a torn line at its end is cut before.

    On any failure, Ctrl-C included, the file has the lines that it had before.

    Args:
        path: The file; it is made if it is not there.
        lines: Ending in a line break.
        remedy: What the user can do when the place is full or cannot be written to.

    Raises:
        InputError: If the place cannot be written to, or the disk is full.
    """
    try:
        with Path(path).open("ab+", buffering=0) as file:
            end = _end_of_lines(file)
            file.truncate(end)
            try:
                left = memoryview(lines)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(end)
                raise
    except OSError as error:
        raise InputError(path, f"could not be written: {error.strerror or error}", remedy) from error


def cut_torn_line(path: str | os.PathLike[str]) -> int:
    """Cut what stands after the last line break of a file; return the number of bytes cut.

    Raises:
        InputError: If the file cannot be read or written to.
    """
    try:
        with Path(path).open("rb+") as file:
            size, end = os.fstat(file.fileno()).st_size, _end_of_lines(file)
            if end < size:
                file.truncate(end)
            return size - end
    except OSError as error:
        raise InputError(path, f"could not be opened: {error.strerror or error}", "Check its permissions") from error


def _end_of_lines(file: IO[bytes]) -> int:
    """Return the place after the last line break of an open file."""
    end = os.fstat(file.fileno()).st_size
    while end:
        begin = max(end - _STRIDE, 0)
        file.seek(begin)
        place = file.read(end - begin).rfind(b"\n")
        if place >= 0:
            return begin + place + 1
        end = begin
    return 0

"""Folders of finished parts beside an output that is not whole yet; any number of processes may work on one."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fusion.errors import InputError
from fusion.locks import held
from fusion.parquet import part_key

__all__ = ["claimed", "others", "put_in_place", "whole", "work_folder"]


def work_folder(output: Path, key: str) -> Path:
    """Return where the finished parts of an output are until all are; made where it is not there.

    Args:
        output: What the run makes.
        key: Identifies the run by what all its parts depend on; parts of other runs lie elsewhere.
    """
    return output.with_name(f"{output.name}.{key[:8]}.unfinished")


def others(output: Path, key: str) -> list[Path]:
    """Return the folders of other runs for the same output, which are not this run's to delete."""
    found = sorted(output.parent.glob(f"{output.name}.*.unfinished")) if output.parent.is_dir() else []
    return [path for path in found if path != work_folder(output, key)]


@contextmanager
def claimed(work: Path, name: str) -> Iterator[bool]:
    """Hold a part of a run while it is made; a claim ends with its process, however that ends.

    Yields:
        Whether it is ours; otherwise another process is at it.

    Raises:
        FileNotFoundError: If the folder is gone: another process has put the output in place.
    """
    lock = work / f".{name}.lock"
    os.close(os.open(lock, os.O_CREAT | os.O_RDONLY, 0o644))
    with ExitStack() as holding:
        try:
            holding.enter_context(held(lock))
            ours = True
        except BlockingIOError:
            ours = False
        yield ours


def whole(output: Path, keys: Sequence[str]) -> bool:
    """Tell whether an output has all its parts, and each is of its key."""
    paths = sorted(output.glob("part-*.parquet")) if output.is_dir() else []
    return len(paths) == len(keys) and all(part_key(path) == key for path, key in zip(paths, keys, strict=True))


def put_in_place(work: Path, output: Path, keys: Sequence[str]) -> None:
    """Make the output of the folder with all its parts; where another process has done so, that is as well.

    Raises:
        InputError: If something else stands there.
    """
    try:
        work.rename(output)
    except OSError as error:
        if not whole(output, keys):
            problem = f"could not be put in place: {(error.strerror or str(error)).lower()}"
            raise InputError(output, problem, f"The finished parts are in {work}") from error
        shutil.rmtree(work, ignore_errors=True)
    for lock in output.glob(".*.lock"):
        lock.unlink(missing_ok=True)

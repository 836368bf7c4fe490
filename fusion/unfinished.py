"""Folders of finished parts beside an output that is not whole yet; any number of processes may work on one."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fusion.errors import InputError
from fusion.locks import held
from fusion.parquet import part_key
from fusion.places import MANIFEST, Remote, manifest_of, write_manifest

__all__ = ["claimed", "others", "put_in_place", "stands", "there", "whole", "work_folder"]


def work_folder(output: Path, key: str) -> Path:
    """Return where the finished parts of an output are until all are; made where it is not there.

    Args:
        output: What the run makes.
        key: Identifies the run by what all its parts depend on; parts of other runs lie elsewhere.
    """
    if isinstance(output, Remote):  # nothing is renamed there
        return output
    return output.with_name(f"{output.name}.{key[:8]}.unfinished")


def others(output: Path, key: str) -> list[Path]:
    """Return the folders of other runs for the same output, which are not this run's to delete."""
    if isinstance(output, Remote):
        return []
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
    if isinstance(work, Remote):  # without locks: whoever is slower writes the same again
        yield True
        return
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
    if isinstance(output, Remote):
        paths: list[Path] = [output / name for name in manifest_of(output) or ()]
    else:
        paths = sorted(output.glob("part-*.parquet")) if output.is_dir() else []
    return len(paths) == len(keys) and all(part_key(path) == key for path, key in zip(paths, keys, strict=True))


def stands(output: Path) -> bool:
    """Tell whether something is there that is not being made; in an object store that is what has a manifest."""
    if isinstance(output, Remote):
        return output.is_file() or (output / MANIFEST).exists()
    return output.exists()


def there(work: Path) -> None:
    """Require the folder of an unfinished output.

    Raises:
        FileNotFoundError: If it is gone: another process has put the output in place.
    """
    if not isinstance(work, Remote):
        work.stat()


def put_in_place(work: Path, output: Path, keys: Sequence[str]) -> None:
    """Make the output of the folder with all its parts; where another process has done so, that is as well.

    Raises:
        InputError: If something else stands there.
    """
    if isinstance(output, Remote):
        _commit(output, keys)
        return
    try:
        work.rename(output)
    except OSError as error:
        if not whole(output, keys):
            problem = f"could not be put in place: {(error.strerror or str(error)).lower()}"
            raise InputError(output, problem, f"The finished parts are in {work}") from error
        shutil.rmtree(work, ignore_errors=True)
    for lock in output.glob(".*.lock"):
        lock.unlink(missing_ok=True)


def _commit(output: Remote, keys: Sequence[str]) -> None:
    """Write the manifest of an output in an object store whose parts are all there."""
    paths = sorted(output.glob("part-*.parquet"))
    if len(paths) != len(keys) or any(part_key(path) != key for path, key in zip(paths, keys, strict=True)):
        problem = "has parts of another run, which was stopped or is at work there"
        raise InputError(output, problem, "Remove it or choose another name")
    write_manifest(output)

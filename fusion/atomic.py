"""Writing files so that a killed process leaves the old one or the new one, never half of one."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusion.errors import InputError

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | os.PathLike[str], *, folder: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`; put it in place when the block ends well.

    The content is synced to disk before the rename. On any failure, Ctrl-C included, the temporary
    is removed and what stood at `path` is as it was. Missing parent folders are made.

    Args:
        path: Where the result goes.
        folder: The result is a folder. An existing folder is not overwritten, since two renames
            would leave a moment without either.

    Yields:
        The temporary path; as a file it does not exist yet, as a folder it does.

    Raises:
        InputError: If the place cannot be written to, or the disk is full.
    """
    target = Path(path)
    if folder and target.exists():
        raise InputError(target, "exists already, and a folder is not overwritten", "Remove it or choose another name")
    if not folder and target.is_dir():
        raise InputError(target, "expected a file to write, got a directory", "Give the name of a file in it")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            temporary.mkdir()
        yield temporary
        for file in sorted(temporary.iterdir()) if folder else [temporary]:
            _sync(file)
        temporary.replace(target)
        _sync(target.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            target, f"could not be written: {reason}", "Nothing was left behind; free some room or choose another place"
        ) from error
    finally:
        if folder:
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # a parent that is no folder must not hide the error above
                temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

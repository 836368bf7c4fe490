"""Folders for the time of a search, of which those of dead processes are removed by the next one."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusion.errors import InputError

try:
    import fcntl
except ImportError:  # where there is none, what dead processes left is not removed
    fcntl = None  # type: ignore[assignment]

__all__ = ["scratch_folder"]


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Make a folder in the temporary directory, and remove it when the block ends.

    A living process holds a lock on its folder, which ends with it, however it ends. Folders of this user with the
    same prefix on which nobody holds a lock are removed first.

    Args:
        prefix: Of the folder's name.

    Raises:
        InputError: If it cannot be made.
    """
    place = Path(tempfile.gettempdir())
    for left in place.glob(f"{prefix}*") if fcntl is not None else ():
        with contextlib.suppress(OSError), _locked(left):
            shutil.rmtree(left)
    with contextlib.ExitStack() as stack:
        while True:
            try:
                folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
            except OSError as error:
                raise InputError(
                    place, f"no folder could be made there: {error.strerror or error}", "Free some room or set TMPDIR"
                ) from error
            try:
                stack.enter_context(_locked(folder))
            except (BlockingIOError, FileNotFoundError):
                continue  # another process has just taken it for one that was left behind
            except OSError:  # a place without locks: no process can take it for that
                pass
            break
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of one's own.

    Raises:
        OSError: If it is somebody else's, or locked, or gone.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        own, there = os.fstat(handle), folder.stat()
        if (own.st_ino, own.st_uid) != (there.st_ino, os.getuid()):
            raise FileNotFoundError(folder)
        yield
    finally:
        os.close(handle)

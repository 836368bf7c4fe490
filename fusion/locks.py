"""Files and folders of living processes: each holds a lock on its own, which ends with it, however it ends."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # where there is none, what dead processes left is not removed
    fcntl = None  # type: ignore[assignment]

__all__ = ["held", "remove_unheld"]


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder that this process has just made; links are not followed.

    Some file systems know no locks: nothing is held there, and nothing counts as left over.

    Raises:
        BlockingIOError: If another process holds it.
        FileNotFoundError: If it is gone: another process took it for one that was left over.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:
                pass
        if os.fstat(handle).st_ino != path.lstat().st_ino:
            raise FileNotFoundError(path)
        yield
    finally:
        os.close(handle)


def remove_unheld(paths: Iterable[Path]) -> None:
    """Remove those files and folders that no living process holds."""
    if fcntl is None:
        return
    for path in paths:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            finally:
                os.close(handle)

"""Folders for the time of a search, of which those of dead processes are removed by the next one."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusion.errors import InputError
from fusion.locks import held, remove_unheld

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
    remove_unheld(filter(_own_folder, place.glob(f"{prefix}*")))
    with contextlib.ExitStack() as stack:
        while True:
            try:
                folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
            except OSError as error:
                raise InputError(
                    place, f"no folder could be made there: {error.strerror or error}", "Free some room or set TMPDIR"
                ) from error
            with contextlib.suppress(BlockingIOError, FileNotFoundError):  # taken for one that was left behind
                stack.enter_context(held(folder))
                break
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _own_folder(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:  # another process has just removed it
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()

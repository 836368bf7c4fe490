"""Files without a name, for what does not fit in memory."""

import tempfile
import weakref
from collections.abc import Iterable
from typing import IO

__all__ = ["unnamed_files"]


def unnamed_files(owner: object, count: int) -> list[IO[bytes]]:
    """Return files in the folder for temporary files; nothing is left of them, however the process ends.

    Args:
        owner: They are closed when it is gone.
        count: Number of files.
    """
    files: list[IO[bytes]] = [tempfile.TemporaryFile(prefix="quorum-") for _ in range(count)]  # noqa: SIM115
    weakref.finalize(owner, _close, files)
    return files


def _close(files: Iterable[IO[bytes]]) -> None:
    for file in files:
        file.close()

"""What notes were said before: each is printed once for what it is about, in the folder in which the user works."""

import contextlib
import functools
import hashlib
import os
from pathlib import Path

__all__ = ["first_time"]


def first_time(where: object, note: str) -> bool:
    """Whether a note has to be printed; if so, it counts as printed from now on.

    A note is printed once for each folder of files: neither the next file there that it is true of repeats it, nor the
    next command that is run in the same working folder. Of a file that has changed since, it is said again. What was
    said is kept in the user's cache folder; QUORUM_NOTES=always prints every note at every command.

    Args:
        where: The file that the note is about, or the name of a command.
        note: The note.
    """
    if os.environ.get("QUORUM_NOTES") == "always":
        return True
    memory = _memory()
    folder, file, state = _place(where)
    about = _digest(folder, note)
    files = _known(memory).setdefault(about, {})
    first = not files or files.get(file, state) != state
    if files.get(file) != state:
        files[file] = state
        with contextlib.suppress(OSError):  # a note that is printed twice is better than a command that fails
            memory.parent.mkdir(parents=True, exist_ok=True)
            with memory.open("a", encoding="ascii") as lines:
                lines.write(f"{about} {file} {state}\n")
    return first


@functools.cache
def _known(memory: Path) -> dict[str, dict[str, str]]:
    """What was said in a working folder: note -> file -> its state then."""
    known: dict[str, dict[str, str]] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in memory.read_text(encoding="ascii").splitlines():
            words = line.split(" ")
            if len(words) == 3:  # others were torn
                known.setdefault(words[0], {})[words[1]] = words[2]
    return known


def _memory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        cache = Path(base) if base else Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        cache = Path(os.devnull)
    return cache / "quorum" / "notes" / _digest(str(Path.cwd()))


def _place(where: object) -> tuple[str, str, str]:
    """Folder, file and state of the file."""
    if isinstance(where, Path):
        with contextlib.suppress(OSError):
            path = where.resolve()
            found = path.stat()
            return str(path.parent), _digest(str(path)), _digest(str(found.st_size), str(found.st_mtime_ns))
    return "", _digest(str(where)), "-"


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:20]

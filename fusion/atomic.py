"""Writing files so that a killed process leaves the old one or the new one, never half of one."""

import contextlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fusion.errors import InputError, option
from fusion.locks import held, remove_unheld
from fusion.places import MANIFEST, Remote, place_of, write_manifest

__all__ = ["keep_inputs", "replacing"]


@contextmanager
def replacing(path: str | os.PathLike[str], *, folder: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`; put it in place when the block ends well.

    The content is synced to disk before the rename. On any failure, Ctrl-C included, the temporary
    is removed and what stood at `path` is as it was; what a killed process left is removed by the next
    to write to `path`. Missing parent folders are made. A link is followed: what it names is replaced. What is
    no regular file, such as /dev/null or a pipe, is written through. In an object store the content goes in place when
    the block has ended well, object by object, of a folder the manifest last.

    Args:
        path: Where the result goes.
        folder: The result is a folder. An existing folder is not overwritten, since two renames
            would leave a moment without either.

    Yields:
        The temporary path: an empty file, or an empty folder.

    Raises:
        InputError: If the place cannot be written to, or the disk is full.
    """
    target = place_of(path)
    if isinstance(target, Remote):
        with _uploading(target, folder) as temporary:
            yield temporary
        return
    with _in_our_words(target):
        kind = _kind(target)
    if folder and kind is not None:
        raise InputError(target, "exists already, and a folder is not overwritten", "Remove it or choose another name")
    if kind is not None and stat.S_ISDIR(kind):
        raise InputError(target, "expected a file to write, got a directory", "Give the name of a file in it")
    if kind is not None and not stat.S_ISREG(kind):
        with _in_our_words(target), tempfile.TemporaryDirectory(prefix="quorum-") as place:
            (Path(place) / "content").touch()
            yield Path(place) / "content"
            with (Path(place) / "content").open("rb") as content, target.open("wb") as sink:
                shutil.copyfileobj(content, sink)
        return
    named, target = target, Path(os.path.realpath(target))
    with contextlib.ExitStack() as stack:
        with _in_our_words(named):
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_unheld(_temporaries(target))
            temporary = _make(target, folder, stack)
        try:
            with _in_our_words(named):
                yield temporary
                for file in sorted(temporary.iterdir()) if folder else [temporary]:
                    _sync(file)
                temporary.replace(target)
                _sync(target.parent)
        finally:
            if folder:
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):  # a parent that is no folder must not hide the error above
                    temporary.unlink(missing_ok=True)


def keep_inputs(outputs: Mapping[str, Path], inputs: Iterable[Path]) -> None:
    """Require that nothing that is read would be written over, and no two outputs are one; links are seen through.

    Args:
        outputs: Parameter -> what it says to write.
        inputs: What is read: files, and folders of parts.

    Raises:
        InputError: If an output is an input, a part of one, or another output.
    """
    sources = [path for path in map(place_of, inputs) if path.is_file() or path.is_dir()]
    done: dict[str, Path] = {}
    for name, output in ((name, place_of(path)) for name, path in outputs.items()):
        for source in sources:
            parts = list(source.glob("part-*.parquet")) if source.is_dir() else []
            inside = bool(parts) and _folder_of(output) == _folder_of(source / "part")
            if inside or any(_same(output, path) for path in (source, *parts)):
                problem = f"{output} is one of the inputs, or in the folder of one"
                raise InputError(f"option {option(name)}", problem, "Choose another name")
        for other, earlier in done.items():
            if _same(output, earlier):
                raise InputError(
                    f"options {option(other)} and {option(name)}", f"both name {output}", "Choose another name for one"
                )
        done[name] = output


def _same(one: Path, other: Path) -> bool:
    if isinstance(one, Remote) or isinstance(other, Remote):
        return one == other
    try:
        kinds = (one.stat().st_mode, other.stat().st_mode)
    except OSError:  # one of them is not there yet
        return os.path.realpath(one) == os.path.realpath(other)
    return one.samefile(other) and any(stat.S_ISREG(kind) or stat.S_ISDIR(kind) for kind in kinds)


def _folder_of(path: Path) -> Path:
    return path.parent if isinstance(path, Remote) else Path(os.path.realpath(path)).parent.resolve()


@contextmanager
def _uploading(target: Remote, folder: bool) -> Iterator[Path]:
    """Give a temporary on the disk; what it has become goes to an object store."""
    if folder and (target / MANIFEST).exists():
        raise InputError(target, "exists already, and a folder is not overwritten", "Remove it or choose another name")
    if not folder and target.is_dir():
        raise InputError(target, "expected a file to write, got a folder", "Give the name of a file in it")
    with _in_our_words(target), tempfile.TemporaryDirectory(prefix="quorum-") as place:
        temporary = Path(place) / target.name
        temporary.mkdir() if folder else temporary.touch()
        yield temporary
        for file in sorted(temporary.iterdir()) if folder else [temporary]:
            (target / file.name if folder else target).upload(file)
        if folder:
            write_manifest(target)


def _kind(path: Path) -> int | None:
    """Return the mode of what a path names, links followed; None where there is nothing, or a link to nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextmanager
def _in_our_words(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            target, f"could not be written: {reason}", "Nothing was left behind; free some room or choose another place"
        ) from error


def _make(target: Path, folder: bool, stack: contextlib.ExitStack) -> Path:
    """Make a temporary, held until the stack is closed."""
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        if folder:
            temporary.mkdir()
        else:
            temporary.touch(exist_ok=False)
        with contextlib.suppress(BlockingIOError, FileNotFoundError):  # taken for a dead process's meanwhile
            stack.enter_context(held(temporary))
            return temporary


def _temporaries(target: Path) -> list[Path]:
    """Return what this and other processes have made to write to a place."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.tmp")
    return [path for path in target.parent.iterdir() if pattern.fullmatch(path.name)]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

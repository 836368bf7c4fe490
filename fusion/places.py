"""Where tables lie: on a disk, or in an object store such as `s3://bucket/folder`, `gs://` or `memory://`.

A store has no renames: an object appears when its last byte is there, and a folder is whole when a manifest says which
parts it has. Parts are written in place, the manifest last, and what reads a folder requires it.
"""

import fnmatch
import functools
import os
import re
import stat
from collections.abc import Generator
from pathlib import Path, PosixPath
from types import SimpleNamespace
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import fs

from fusion.errors import InputError

__all__ = ["MANIFEST", "Remote", "manifest_of", "place_of", "write_manifest"]

MANIFEST = "quorum-manifest.json"
"""In a folder of a store: its parts, written when all of them are there."""

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?!/)(.*)")
_NATIVE = {"s3", "gs", "gcs", "abfs", "abfss", "hdfs"}


def place_of(path: str | os.PathLike[str]) -> Path:
    """Return a path on the disk as it is, and a URL of a store, also one that a path has been made of, as a `Remote`.

    Raises:
        InputError: If a URL is of a kind that no installed library opens.
    """
    if isinstance(path, Remote):
        return path
    found = _URL.fullmatch(os.fspath(path))
    if found is None:
        return Path(path)
    return Remote(f"{found[1]}:", found[2])


class Remote(PosixPath):
    """A place in an object store, with what is asked of paths of tables; its text is the URL.

    Folders need not be made there, and objects are written whole, by `upload`.
    """

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def __fspath__(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return place_of, (str(self),)

    def absolute(self) -> "Remote":
        """Return it: a URL is."""
        return self

    def exists(self, **_: Any) -> bool:
        """Tell whether there is an object or a folder."""
        return bool(self._info().type != fs.FileType.NotFound)

    def is_dir(self, **_: Any) -> bool:
        """Tell whether there are objects below."""
        return bool(self._info().type == fs.FileType.Directory)

    def is_file(self, **_: Any) -> bool:
        """Tell whether there is an object."""
        return bool(self._info().type == fs.FileType.File)

    def stat(self, **_: Any) -> Any:
        """Return its kind, size and time.

        Raises:
            FileNotFoundError: If there is nothing.
        """
        info = self._info()
        if info.type == fs.FileType.NotFound:
            raise FileNotFoundError(2, "there is no such object", str(self))
        kind = stat.S_IFDIR if info.type == fs.FileType.Directory else stat.S_IFREG
        return SimpleNamespace(st_mode=kind, st_size=info.size or 0, st_mtime_ns=info.mtime_ns or 0)

    def open(self, mode: str = "rb", *_: Any, **__: Any) -> Any:
        """Open it to be read; ranges of it are fetched as they are asked for."""
        if mode != "rb":
            raise OSError(f"objects are written whole, and {self} was to be opened by {mode!r}")
        return self._store.open_input_file(self._key)

    def read_bytes(self) -> bytes:
        """Return all of it."""
        with self.open() as file:
            found: bytes = file.read()
        return found

    def glob(self, pattern: str) -> Generator["Remote", None, None]:
        """Yield what is directly below under names of a pattern."""
        return (place for place in self.iterdir() if fnmatch.fnmatchcase(place.name, pattern))

    def iterdir(self) -> Generator["Remote", None, None]:
        """Yield what is directly below."""
        for info in self._store.get_file_info(fs.FileSelector(self._key, allow_not_found=True)):
            yield self / info.base_name

    def mkdir(self, *_: Any, **__: Any) -> None:
        """Do nothing: a folder is there with its first object."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object."""
        if self.is_file() or not missing_ok:
            self._store.delete_file(self._key)

    def upload(self, source: Path) -> None:
        """Make it an object with the content of a file on the disk; whoever reads it meanwhile has the old one."""
        self.write_bytes(memoryview(pa.memory_map(str(source)).read_buffer()) if source.stat().st_size else b"")

    def write_bytes(self, data: Any) -> int:
        """Make it an object with some content."""
        with self._store.open_output_stream(self._key) as sink:
            sink.write(data)
        return len(data)

    @property
    def _scheme(self) -> str:
        return self.parts[0].rstrip(":")

    @property
    def _key(self) -> str:
        return "/".join(self.parts[1:])

    @property
    def _store(self) -> fs.FileSystem:
        try:
            return _opened(self._scheme, self.parts[1] if len(self.parts) > 1 else "")
        except (ImportError, ValueError, pa.ArrowException) as error:
            remedy = "Name a place that an installed library opens, such as s3://bucket/folder; pip install fsspec"
            raise InputError(self, f"cannot be opened ({error})", remedy) from error

    def _info(self) -> fs.FileInfo:
        try:
            return self._store.get_file_info(self._key)
        except OSError as error:
            problem = f"cannot be looked at ({(str(error).splitlines() or [''])[0]})"
            raise InputError(self, problem, "Is the store reachable, and are the credentials set?") from error


@functools.lru_cache(maxsize=16)
def _opened(scheme: str, bucket: str) -> fs.FileSystem:
    if scheme in _NATIVE:
        return fs.FileSystem.from_uri(f"{scheme}://{bucket}/")[0]
    import fsspec

    return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))


def write_manifest(folder: Path) -> None:
    """Say that the parts that are in a folder of a store are all of it."""
    sizes = {part.name: part.stat().st_size for part in sorted(folder.glob("part-*.parquet"))}
    (folder / MANIFEST).write_bytes(msgspec.json.encode({"version": 1, "parts": sizes}))


def manifest_of(folder: Path) -> list[str] | None:
    """Return the names of the parts that a folder of a store has; None where no manifest says so.

    Raises:
        InputError: If it cannot be read.
    """
    place = folder / MANIFEST
    if not place.is_file():
        return None
    try:
        return sorted(msgspec.json.decode(place.read_bytes())["parts"])
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise InputError(place, f"is no manifest of a table ({error})", "Copy or make the table again") from error

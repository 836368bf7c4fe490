"""Result files where a table is meant: imported into a table beside them, once."""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from evaluation.annotations import read_ground_truth
from evaluation.belonging import origin_of
from evaluation.files.look import Look, stem_of
from evaluation.formats import is_recognised
from evaluation.hidden_tables import hidden_table
from evaluation.results import read_results
from fusion.errors import InputError, options_of
from fusion.source import STANDARD_INPUT
from fusion.storage import read_metadata, write_table
from fusion.table import Metadata
from fusion.terminal import notes

__all__ = ["is_table", "table_of"]

_LAYOUT = 1  # of what import makes of a file; another one makes all tables anew
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")


def is_table(path: Path) -> bool:
    """Tell whether a path is a table, or is to be taken for one: it is not there, or no result file."""
    if path.suffix == ".parquet" or not path.exists() or any(path.glob("part-*.parquet")):
        return True
    return not is_recognised(path, "results")


def table_of(path: Path, ground_truth: Path | None, files: Mapping[str, Path]) -> Path:
    """Return the table of result files, importing them where that was not done yet, or they have changed.

    The table lies beside them, in a hidden folder `.quorum`, and has a key of the contents of the results, of the
    ground truth and of what goes with it. Where the folder cannot be written to, it lies among the user's caches.

    Args:
        path: Results in any format.
        ground_truth: What they are joined to and compared with; None takes them as they are.
        files: What goes with a CSV file of Open Images boxes as ground truth.

    Raises:
        InputError: If they cannot be read, or most probably do not mean what they seem to mean.
    """
    key = _key(path, ground_truth, files)
    member = stem_of(path.resolve().name).split(".")[0] or "table"
    beside, cached = hidden_table(path, member), _caches() / key / f"{member}.parquet"
    for place in (beside, cached):
        if place.exists() and _key_of(place) == key:
            return place
    truth, unreadable = None, None
    if ground_truth is not None:
        try:
            truth = read_ground_truth(ground_truth, files)
        except InputError as error:  # it may be a list of images; if not, the command will say so
            unreadable = error
    origin = {} if truth is None else origin_of(truth)
    try:
        with options_of("quorum import", "read_results"):
            table = read_results(path, truth, metadata=Metadata(member=member, made_by={"key": key}, **origin))
    except InputError as error:
        raise unreadable or error from None
    place = beside if _writable(path.resolve().parent) else cached
    write_table(table, place)
    notes(path, [*table.metadata.made_by["notes"], f"imported ({table.metadata.made_by['format']}) into {place}"])
    return place


def _key_of(place: Path) -> object:
    try:
        return read_metadata(place)[0].made_by.get("key")
    except InputError:
        return None


def _key(path: Path, ground_truth: Path | None, files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256(f"{_LAYOUT}".encode())
    given = [("results", path), *(() if ground_truth is None else (("truth", ground_truth),)), *sorted(files.items())]
    for what, one in given:
        if str(one) == STANDARD_INPUT:
            raise InputError(what, "standard input can be imported alone", "Use `quorum import`, and then the table")
        digest.update(f"\0{what}\0".encode())
        for file in _contents(one):
            digest.update(str(file.relative_to(one)).encode() + b"\0")
            try:
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
            except OSError as error:
                raise InputError(file, f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    return digest.hexdigest()


def _contents(path: Path) -> list[Path]:
    """Return the files that a result or ground truth is made of; pictures are known by their names alone."""
    if not path.is_dir():
        return [path]
    names = Look.at(path).names
    pictures = [name for name in names if name.lower().endswith(_PICTURES)]
    return [path / name for name in names if name not in set(pictures)]


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK)


def _caches() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = Path(home) / "quorum" / "tables"
    return place if os.access(Path(home).parent, os.W_OK) or Path(home).exists() else Path(tempfile.gettempdir())

"""The formats of detections and annotations, one file each: `yolo.py` holds `YoloFormat`. A file adds a format."""

import functools
import os
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from fusion.errors import InputError, option

if TYPE_CHECKING:
    from evaluation.files.look import Look
    from evaluation.formats.base import Format

__all__ = ["format_names", "format_of", "formats_that", "is_recognised", "recognised"]


@functools.cache
def format_names() -> tuple[str, ...]:
    """Return the names of all formats, sorted; loads none of them."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name != "base"))


@functools.cache
def _format(name: str) -> "Format":
    found: Format = getattr(import_module(f"{__name__}.{name}"), f"{name.title()}Format")()
    return found


def formats_that(can: str) -> tuple[str, ...]:
    """Return the names of the formats that have a method: "results", "truth", "write", "take" or "give"."""
    return tuple(name for name in format_names() if _format(name).has(can))


def format_of(name: str, can: str) -> "Format":
    """Return the format of a name.

    Args:
        name: One of `format_names()`.
        can: The method that is to be used.

    Raises:
        InputError: If there is none, or it has no such method.
    """
    names = formats_that(can)
    if name not in names:
        raise InputError(f"option {option('format')}", f"expected one of {', '.join(names)}, got {name!r}")
    return _format(name)


def recognised(path: str | os.PathLike[str], can: str) -> "Format":
    """Return the format that a file or folder is in; of a file in none COCO's, whose reader says what it is instead.

    Args:
        path: The file or folder; "-" is standard input.
        can: What it is read for: "results" or "truth".

    Raises:
        InputError: If there is nothing at the path, a folder is in no format, or it looks like several.
    """
    from evaluation.files.look import Look

    look = Look.at(path, can)
    best = _best(look, can)
    if len(best) == 1:
        return _format(best[0])
    if best:
        remedy = f"Say which with {option('format')}" if can == "results" else "Name the file or folder in it"
        raise InputError(path, f"looks like {' and like '.join(f'{n} ({_format(n).title})' for n in best)}", remedy)
    if look.folder:
        raise _nothing(look, can)
    return _format("coco")


def is_recognised(path: str | os.PathLike[str], can: str) -> bool:
    """Tell whether a file or folder that is there looks like any format that can be read for something."""
    from evaluation.files.look import Look

    return bool(_best(Look.at(path, can), can))


def _best(look: "Look", can: str) -> list[str]:
    ranks = {name: _format(name).recognises(look) for name in formats_that(can)}
    return [name for name, rank in ranks.items() if rank and rank == max(ranks.values())]


def _nothing(look: "Look", can: str) -> InputError:
    kinds: dict[str, int] = {}
    for name in look.names:
        suffix = os.path.splitext(name)[1] or "files without a suffix"  # noqa: PTH122
        kinds[suffix] = kinds.get(suffix, 0) + 1
    got = ", ".join(f"{count} {suffix}" for suffix, count in sorted(kinds.items(), key=lambda one: -one[1])[:4])
    pickles = [name for name in look.names if name.endswith((".pkl", ".pickle", ".pth"))]
    remedy = "Name the file in it"
    if can == "results":
        remedy += f", or say what it is with {option('format')}"
    if pickles:
        remedy = (
            f"{pickles[0]} is a pickle, which can run any code and is not opened: let what made it write COCO results"
            f" as JSON. {remedy}"
        )
    what = "results" if can == "results" else "annotations"
    return InputError(
        look.path, f"expected a folder of {what} in a known format, got {got or 'an empty folder'}", remedy
    )

"""Where the slices of an image lie in it: what sliced inference knows of each view."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion.checks import listed, listing, shown
from fusion.errors import InputError, option
from fusion.pool import Pool
from fusion.toml_values import parse_toml
from fusion.views import views_of

__all__ = ["Offsets", "check_offsets", "offsets_of", "read_offsets"]

Offsets = Mapping[str, Sequence[int]]

_COLUMNS = ("view", "x", "y", "width", "height")
_EXPECTED = "[x, y] or [x, y, width, height]"
_MOST = 2**31 - 1


def read_offsets(path: str | os.PathLike[str]) -> dict[str, list[int]]:
    """Read where slices lie: CSV with columns view, x, y and perhaps width, height, or TOML with view = [x, y].

    Raises:
        InputError: If the file cannot be read, or a line is no slice; it is named.
    """
    place = Path(path)
    expected = "a file of slices: CSV with columns view, x, y, or TOML lines like left = [0, 0]"
    try:
        text = place.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(place, f"expected {expected} ({error})") from error
    if place.suffix.lower() != ".csv":
        return parse_toml(text, place, expected)
    lines = csv.reader(text.splitlines())
    header = next(lines, [])
    if tuple(header) not in (_COLUMNS[:3], _COLUMNS):
        raise InputError(place, f"expected a first line {','.join(_COLUMNS[:3])}[,width,height], got {shown(header)}")
    offsets: dict[str, list[int]] = {}
    for row in lines:
        where = f"{place}, line {lines.line_num}"
        try:
            name, *numbers = row
            values = [int(number) for number in numbers]
        except ValueError:
            values = []
        if len(row) != len(header) or len(values) != len(header) - 1:
            raise InputError(where, f"expected {','.join(header)} with whole numbers, got {','.join(row)!r}")
        if name in offsets:
            raise InputError(where, f"view {name!r} is there twice", "Name each view once")
        offsets[name] = values
    return offsets


def check_offsets(offsets: Any) -> dict[str, tuple[int, ...]]:
    """Require whole pixels for every view and return them as tuples.

    Raises:
        InputError: If there are none, or one is anything else; it is named.
    """
    if not isinstance(offsets, Mapping) or not offsets:
        raise InputError(f"option {option('offsets')}", f"expected views with {_EXPECTED} each, got {shown(offsets)}")
    checked = {}
    for view, row in offsets.items():
        name = f"offsets.{view}"
        values = listed(name, row, int)
        if len(values) not in (2, 4) or any(abs(value) > _MOST for value in values):
            raise InputError(f"option {option(name)}", f"expected {_EXPECTED} in pixels, got {shown(row)}")
        if len(values) == 4 and (min(values[2:]) < 1 or values[2] * values[3] > _MOST):
            problem = f"expected an image of 1 to {_MOST:,} pixels, got {values[2]} x {values[3]}"
            raise InputError(f"option {option(name)}", problem, "Width and height are those of the whole image")
        checked[view] = values
    return checked


def offsets_of(offsets: Offsets, pool: Pool) -> np.ndarray:
    """Return where the slice of each row lies and how large its image is: int64 [rows, 4]; 0 where that is not told.

    Raises:
        InputError: If a view has no offset.
    """
    names, view = views_of(pool)
    missing = [name for name in names if name not in offsets]
    if missing:
        raise InputError(
            f"option {option('offsets')}",
            f"there is none for view {missing[0]!r}; they are for {listing(offsets)}",
            "Give every view its place; a table without a view column is a view itself, called as its member",
        )
    places = np.array([[*offsets[name], 0, 0][:4] for name in names], np.int64).reshape(-1, 4)
    rows: np.ndarray = places[view]
    return rows

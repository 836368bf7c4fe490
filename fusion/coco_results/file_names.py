"""Finding the names of image files that others wrote in their own way."""

import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

__all__ = ["AMBIGUOUS", "NOT_THERE", "FileNames", "normal_name"]

NOT_THERE, AMBIGUOUS = -1, -2
_HOW = ("as they are", "without folders", "without folders and suffixes", "by their number", "regardless of case")


class FileNames:
    """The names of a data set's image files.

    A name is looked for as it is, in any Unicode form and with either slash; else without folders, where several fit
    the one that shares most folders at its end; else also without suffix; else by the number that it is, without
    leading zeros; else also regardless of case.

    Args:
        names: [images] their names; "" where there is none.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._all = names
        self._places: tuple[dict[str, list[int]], ...] = ({}, {}, {}, {}, {})
        for place, name in enumerate(names):
            for level, key in enumerate(_spellings(name) if name else ()):
                if key is not None:
                    self._places[level].setdefault(key, []).append(place)
        self._levels = [0] * len(_HOW)

    def place(self, name: str) -> int:
        """Return the place of an image; NOT_THERE, or AMBIGUOUS where several fit."""
        for level, key in enumerate(_spellings(name)):
            places = self._places[level].get(key, []) if key is not None else []
            if not places:
                continue
            if len(places) > 1:
                places = self._nearest(name, places)
            if len(places) == 1:
                self._levels[level] += 1
                return places[0]
            return AMBIGUOUS
        return NOT_THERE

    def fitting(self, name: str) -> list[str]:
        """Return the names of the images that a name fits."""
        for level, key in enumerate(_spellings(name)):
            if key is not None and key in self._places[level]:
                return [self._all[place] for place in self._places[level][key]]
        return []

    def summary(self) -> str:
        """Say how the names were found so far, " (3 as they are, 1 without folders)"."""
        return " (" + ", ".join(f"{n} {way}" for n, way in zip(self._levels, _HOW, strict=True) if n) + ")"

    def _nearest(self, name: str, places: list[int]) -> list[int]:
        """Return those whose last folders are most like those of a name."""
        folders = normal_name(name).split("/")[-2::-1]
        shared = []
        for place in places:
            other = normal_name(self._all[place]).split("/")[-2::-1]
            same = [a == b for a, b in zip(folders, other, strict=False)]
            shared.append(same.index(False) if False in same else len(same))
        return [place for place, count in zip(places, shared, strict=True) if count == max(shared)]


def normal_name(name: str) -> str:
    """Return a file's name in Unicode's composed form, with slashes between folders."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _spellings(name: str) -> tuple[str, str, str, str | None, str]:
    normal = normal_name(name)
    path = PurePosixPath(normal)
    stem = path.stem
    number = stem.lstrip("0") or "0" if stem.isascii() and stem.isdigit() else None
    return normal, path.name, stem, number, stem.casefold()

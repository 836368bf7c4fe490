"""What belongs together: sketches of data sets that tell another data set from another split of the same one."""

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

__all__ = ["Contradiction", "Sketch", "apart", "difference", "merged", "same_file", "same_word"]

SIZE = 256
# Fewer sampled images than this say nothing about how much of two data sets is shared, unless there are no more.
_FEW = 4


class Sketch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a list of images, or of categories, was: enough to tell another data set from another split.

    The sample holds the `SIZE` entries whose ids have the smallest hashes (a bottom-k sketch), ordered by them. Which
    ids are in it depends on the ids alone, so that two lists that share ids share some of their samples. Where these
    say different things of one id, the lists are of different data sets; lists that share no id are other splits.

    Attributes:
        count: Number of entries; of merged lists the largest, which may be too few.
        digest: SHA-256 over all entries: equal ones are of equal lists.
        sample: Some entries: id, name, and size as "width x height"; "" where unknown, and for the size of categories.
    """

    count: int
    digest: str
    sample: tuple[tuple[int | str, str, str], ...]

    @classmethod
    def of(cls, ids: np.ndarray, names: Sequence[str], sizes: np.ndarray | None = None) -> "Sketch":
        """Sketch a list.

        Args:
            ids: [n] integers or strings, no two equal, in any order.
            names: [n] file names of images, or names of categories.
            sizes: [n, 2] width and height; 0 where unknown.
        """
        order = np.argsort(ids, kind="stable")
        keys = ids[order].tolist()
        texts = [str(names[place]) for place in order.tolist()]
        pixels = np.zeros((len(keys), 2), np.int64) if sizes is None else np.asarray(sizes, np.int64)[order]
        digest = hashlib.sha256(repr(keys).encode())
        digest.update("\0".join(texts).encode("utf-8", "surrogatepass"))
        digest.update(pixels.astype("<i8").tobytes())
        hashes = _hashes(ids[order])
        chosen = np.lexsort((np.arange(len(keys)), hashes))[:SIZE].tolist()
        # what is no text in UTF-8 could not be stored
        named = {i: texts[i].encode(errors="replace").decode() for i in chosen}
        return cls(len(keys), digest.hexdigest(), tuple((keys[i], named[i], _size(pixels[i])) for i in chosen))


class Contradiction(NamedTuple):
    """What two lists say of the same id.

    Attributes:
        id: The id.
        one: What the first says, in words.
        other: What the second says.
    """

    id: int | str
    one: str
    other: str


def difference(one: Sketch, other: Sketch, same: Callable[[str, str], bool]) -> Contradiction | None:
    """Return an id of which two lists say different things, None where they agree on all that the samples share.

    Args:
        one: A list.
        other: Another.
        same: Whether two names are the same: `same_file` or `same_word`. What is not known agrees with everything.
    """
    if one.digest == other.digest:
        return None
    known = {entry[0]: entry for entry in other.sample}
    for key, name, size in one.sample:
        if key in known:
            _, name2, size2 = known[key]
            if (name and name2 and not same(name, name2)) or (size and size2 and size != size2):
                return Contradiction(key, _words(name, size), _words(name2, size2))
    return None


def same_file(one: str, other: str) -> bool:
    """Whether one file name is the end of the other, folder by folder, in any Unicode form and with any ending.

    `val2017/0001.jpg` is `0001.png`, but `a/1.jpg` is not `b/1.jpg`.
    """
    parts = [_folders(name) for name in (one, other)]
    short = min(map(len, parts))
    return parts[0][-short:] == parts[1][-short:]


def same_word(one: str, other: str) -> bool:
    """Whether two names of categories are the same, regardless of case, spaces and underscores."""
    return _plain(one) == _plain(other)


def apart(one: Sketch, other: Sketch) -> bool:
    """Whether two lists have no id in common, as far as their samples tell."""
    if one.digest == other.digest or not one.count or not other.count:
        return False
    # up to here both samples have all entries of their lists
    bound = min(_bound(one), _bound(other))
    shown = [{key for key, value in _hashed(sketch) if value <= bound} for sketch in (one, other)]
    enough = all(len(ids) >= min(_FEW, sketch.count) for ids, sketch in zip(shown, (one, other), strict=True))
    return enough and not shown[0] & shown[1]


def merged(sketches: Sequence[Sketch | None]) -> Sketch | None:
    """Return the sketch of several lists of one data set joined; None where none is known."""
    known = {sketch.digest: sketch for sketch in sketches if sketch is not None}
    if len(known) <= 1:
        return next(iter(known.values()), None)
    bound = min(map(_bound, known.values()))
    hashes = {key: value for sketch in known.values() for key, value in _hashed(sketch) if value <= bound}
    entries = {entry[0]: entry for sketch in known.values() for entry in sketch.sample}
    order = sorted(hashes, key=hashes.__getitem__)[:SIZE]
    count = max(sketch.count for sketch in known.values())
    digest = hashlib.sha256(" ".join(sorted(known)).encode()).hexdigest()
    return Sketch(max(count, len(hashes)), digest, tuple(entries[key] for key in order))


def _hashed(sketch: Sketch) -> list[tuple[int | str, int]]:
    keys = [entry[0] for entry in sketch.sample]
    array = np.array(keys, np.int64 if all(isinstance(key, int) for key in keys) else object)
    return list(zip(keys, _hashes(array).tolist(), strict=True))


def _bound(sketch: Sketch) -> int:
    """Return the hash up to which a sample has all entries of its list."""
    return _hashed(sketch)[-1][1] if sketch.count > len(sketch.sample) > 0 else 2**64


def _hashes(ids: np.ndarray) -> np.ndarray:
    """Hash ids: uint64 [n], well mixed, the same everywhere."""
    if ids.dtype.kind in "OU":
        mixed = np.array([zlib.crc32(str(name).encode("utf-8", "surrogatepass")) for name in ids.tolist()], np.uint64)
    else:
        mixed = ids.astype(np.int64).astype(np.uint64)
    with np.errstate(over="ignore"):  # the finalizer of splitmix64
        mixed = mixed + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _size(pixels: np.ndarray) -> str:
    return f"{pixels[0]} x {pixels[1]}" if pixels.min() > 0 else ""


def _folders(name: str) -> list[str]:
    path = unicodedata.normalize("NFC", name).replace("\\", "/").casefold()
    return [part for part in re.sub(r"\.[a-z]\w{1,4}$", "", path).split("/") if part not in ("", ".")]


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", " ", unicodedata.normalize("NFC", name).casefold()).strip()


def _words(name: str, size: str) -> str:
    return ", ".join(filter(None, (repr(name) if name else "", size))) or "without a name"

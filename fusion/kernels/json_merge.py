"""Writing detection records as JSON text out of columns that are text already."""

from typing import NamedTuple

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["Texts", "merge_records", "most_bytes"]

_IMAGE = np.frombuffer(b'{"image_id":', np.uint8)
_CATEGORY = np.frombuffer(b',"category_id":', np.uint8)
_BOX = np.frombuffer(b',"bbox":[', np.uint8)
_SCORE = np.frombuffer(b'],"score":', np.uint8)
_BARE_SCORE = np.frombuffer(b',"score":', np.uint8)
_SIZE = np.frombuffer(b',"segmentation":{"size":[', np.uint8)
_COUNTS = np.frombuffer(b'],"counts":"', np.uint8)
_CLOSE = np.frombuffer(b'"}', np.uint8)
_AROUND = 160  # all of the above, the commas and two 32-bit sizes


class Texts(NamedTuple):
    """What the records are made of.

    Attributes:
        image: uint8, JSON of the distinct image ids, each with a line feed behind it.
        image_end: int64 [images + 1], places behind the line feeds.
        image_of: int64 [n], which of them each row has.
        category: uint8, the same for categories.
        category_end: int64 [categories + 1].
        category_of: int64 [n].
        numbers: uint8, JSON list of all rows' numbers: x, y, w, h, score, or the score only.
        boxed: Whether boxes are among the numbers.
        masked: bool [n].
        size: int32 [n, 2], height and width.
        counts: uint8, compressed runs.
        counts_end: int64 [n + 1].
    """

    image: np.ndarray
    image_end: np.ndarray
    image_of: np.ndarray
    category: np.ndarray
    category_end: np.ndarray
    category_of: np.ndarray
    numbers: np.ndarray
    boxed: bool
    masked: np.ndarray
    size: np.ndarray
    counts: np.ndarray
    counts_end: np.ndarray


def most_bytes(texts: Texts) -> int:
    """Return a bound for the length of the records; every byte of a mask may need an escape."""
    images = int(np.diff(texts.image_end)[texts.image_of].sum())
    categories = int(np.diff(texts.category_end)[texts.category_of].sum())
    counts = int(texts.counts_end[-1] - texts.counts_end[0])
    return images + categories + len(texts.numbers) + 2 * counts + _AROUND * len(texts.image_of)


@jit
def _copy(text, low, high, out, at):
    for k in range(low, high):
        out[at] = text[k]
        at += 1
    return at


@jit
def _whole(number, out, at):
    places = 1
    rest = number // 10
    while rest > 0:
        places += 1
        rest //= 10
    for k in range(at + places - 1, at - 1, -1):
        out[k] = 48 + number % 10
        number //= 10
    return at + places


@jit
def merge_records(texts, out):
    """Write the records with commas between them into `out` and return their length."""
    image, image_end, image_of = texts.image, texts.image_end, texts.image_of
    category, category_end, category_of = texts.category, texts.category_end, texts.category_of
    numbers, boxed, masked, size = texts.numbers, texts.boxed, texts.masked, texts.size
    counts, counts_end = texts.counts, texts.counts_end
    at = 0
    read = 1  # behind the opening bracket
    for i in range(len(image_of)):
        if i > 0:
            out[at] = 44
            at += 1
        at = _copy(_IMAGE, 0, len(_IMAGE), out, at)
        at = _copy(image, image_end[image_of[i]], image_end[image_of[i] + 1] - 1, out, at)
        at = _copy(_CATEGORY, 0, len(_CATEGORY), out, at)
        at = _copy(category, category_end[category_of[i]], category_end[category_of[i] + 1] - 1, out, at)
        if boxed:
            at = _copy(_BOX, 0, len(_BOX), out, at)
            commas = 0
            while True:
                c = numbers[read]
                read += 1
                if c == 44:
                    commas += 1
                    if commas == 4:
                        break
                out[at] = c
                at += 1
            at = _copy(_SCORE, 0, len(_SCORE), out, at)
        else:
            at = _copy(_BARE_SCORE, 0, len(_BARE_SCORE), out, at)
        while numbers[read] != 44 and numbers[read] != 93:
            out[at] = numbers[read]
            at += 1
            read += 1
        read += 1
        if masked[i]:
            at = _copy(_SIZE, 0, len(_SIZE), out, at)
            at = _whole(size[i, 0], out, at)
            out[at] = 44
            at = _whole(size[i, 1], out, at + 1)
            at = _copy(_COUNTS, 0, len(_COUNTS), out, at)
            for k in range(counts_end[i], counts_end[i + 1]):
                c = counts[k]
                if c == 92 or c == 34:
                    out[at] = 92
                    at += 1
                out[at] = c
                at += 1
            at = _copy(_CLOSE, 0, len(_CLOSE), out, at)
        out[at] = 125
        at += 1
    return at

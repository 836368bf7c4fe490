"""Marks on a picture: boxes, masks and their labels, in colours that colour-blind people can tell apart.

Drawn with Pillow, which is installed anyway: supervision's annotators have no broken lines and no lines that stand out
on any ground, take 30 ms for 40 masks, and bring FFmpeg along.
"""

from collections.abc import Sequence
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from evaluation.columns import MaskRuns

__all__ = ["Mark", "MarkKind", "draw_key", "draw_marks", "draw_text", "drawable", "mask_piece", "shortened_to"]

_CASING = (20, 20, 20)
_INK = (20, 20, 20)
_LINE = 2
_DASH = 7
_COVER = np.uint8(90)  # of 255: how much of the picture a mask's colour covers, all of it at its edge
_LABEL, _SMALL_LABEL, _SMALL_PICTURE = 12, 10, 480
_FAR = 64  # pixels outside the picture beyond which a box is cut


class MarkKind(Enum):
    """What a mark says: its words in the key, its colour (Okabe and Ito 2008), and whether its line is broken."""

    OBJECT = ("object", (255, 255, 255), False)
    RIGHT = ("right (TP)", (86, 180, 233), False)
    WRONG = ("wrong (FP)", (213, 94, 0), False)
    MISSED = ("missed (FN)", (240, 228, 66), True)
    NEITHER = ("not counted", (187, 187, 187), True)

    def __init__(self, words: str, colour: tuple[int, int, int], broken: bool) -> None:
        self.words = words
        self.colour = colour
        self.broken = broken


class Piece(NamedTuple):
    """A mask, cut to its bounds.

    Attributes:
        pixels: bool [h, w].
        x: Of its left side, in pixels of the mask.
        y: Of its upper side.
        width: Of the whole mask.
        height: Of the whole mask.
    """

    pixels: np.ndarray
    x: int
    y: int
    width: int
    height: int


class Mark(NamedTuple):
    """One box with what is said of it.

    Attributes:
        kind: What it is.
        box: x1, y1, x2, y2 as shares of the picture's sides.
        text: Its label; "" for none.
        piece: Its mask.
    """

    kind: MarkKind
    box: tuple[float, float, float, float]
    text: str = ""
    piece: Piece | None = None


def mask_piece(masks: "MaskRuns", row: int) -> Piece | None:
    """Return a mask's pixels; None for one without any."""
    height, width = int(masks.height[row]), int(masks.width[row])
    x1, y1, x2, y2 = (int(side) for side in masks.box[row])
    if x2 <= x1 or y2 <= y1:
        return None
    low, high = masks.start[row]
    runs = masks.runs[low:high] - x1 * height
    steps = np.zeros((x2 - x1) * height + 1, np.int8)
    # boundaries are ascending, but a run may end where the next begins
    np.add.at(steps, runs[::2], 1)
    np.add.at(steps, runs[1::2], -1)
    columns = np.cumsum(steps[:-1], dtype=np.int8).reshape(x2 - x1, height)
    return Piece(columns[:, y1:y2].T > 0, x1, y1, width, height)


def draw_marks(picture: Image.Image, marks: Sequence[Mark]) -> None:
    """Draw marks on an RGB picture, the first on top; of masks the smallest."""
    covered = [(mark.piece, mark.kind.colour) for mark in reversed(marks) if mark.piece is not None]
    for piece, colour in sorted(covered, key=lambda one: -int(one[0].pixels.sum())):
        _draw_mask(picture, piece, colour)
    draw = ImageDraw.Draw(picture)
    boxes = [_on_picture(mark.box, picture.size) for mark in marks]
    for mark, box in reversed(list(zip(marks, boxes, strict=True))):
        draw_box(draw, box, mark.kind)
    size = _LABEL if max(picture.size) >= _SMALL_PICTURE else _SMALL_LABEL
    # a label must not cover another, nor a box that would vanish under it
    taken = [(x1, y1, x2 + 1, y2 + 1) for x1, y1, x2, y2 in boxes if x2 - x1 < 2 * size and y2 - y1 < 2 * size]
    for mark, box in zip(marks, boxes, strict=True):
        if mark.text:
            _draw_label(draw, mark, box, size, picture.size, taken)


def draw_box(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], kind: MarkKind) -> None:
    """Draw a box, its outermost pixels in its colour between dark lines."""
    x1, y1, x2, y2 = box
    draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=_CASING, width=_LINE + 2)
    if not kind.broken:
        draw.rectangle(box, outline=kind.colour, width=_LINE)
        return
    for x in range(x1, x2 + 1, 2 * _DASH):
        for y in (y1, max(y2 - _LINE + 1, y1)):
            draw.rectangle((x, y, min(x + _DASH, x2), min(y + _LINE - 1, y2)), fill=kind.colour)
    for y in range(y1, y2 + 1, 2 * _DASH):
        for x in (x1, max(x2 - _LINE + 1, x1)):
            draw.rectangle((x, y, min(x + _LINE - 1, x2), min(y + _DASH, y2)), fill=kind.colour)


def _on_picture(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the first and the last pixels of a box; one without extent has a pixel."""
    width, height = size
    x1, y1, x2, y2 = (
        round(min(max(share * side, -_FAR), side + _FAR))
        for share, side in zip(box, (width, height, width, height), strict=True)
    )
    return x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)


def _draw_mask(picture: Image.Image, piece: Piece, colour: tuple[int, int, int]) -> None:
    across, down = picture.width / piece.width, picture.height / piece.height
    height, width = piece.pixels.shape
    x1, y1 = round(piece.x * across), round(piece.y * down)
    x2, y2 = max(round((piece.x + width) * across), x1 + 1), max(round((piece.y + height) * down), y1 + 1)
    whole = Image.fromarray(piece.pixels.astype(np.uint8) * 255)
    shape = np.asarray(whole.resize((x2 - x1, y2 - y1), Image.Resampling.BOX)) >= 128
    framed = np.pad(shape, 1)
    inside = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    cover = np.where(shape, np.where(inside, _COVER, np.uint8(255)), np.uint8(0))
    picture.paste(colour, (x1, y1), Image.fromarray(cover))


def _draw_label(
    draw: ImageDraw.ImageDraw,
    mark: Mark,
    box: tuple[int, int, int, int],
    size: int,
    picture: tuple[int, int],
    taken: list[tuple[int, int, int, int]],
) -> None:
    """Write a label above the box, in it or below it, where nothing is taken; without room it is left out."""
    width, height = round(font(size).getlength(mark.text)) + 5, size + 4
    x1, y1, x2, y2 = box
    for x, y in (
        (x1 - 1, y1 - height),
        (x1, y1),
        (x2 - width, y1 - height),
        (x1 - 1, y2 + 1),
        (x2 - width, y2 - height + 1),
        (x2 - width, y2 + 1),
    ):
        x = min(max(x, 0), max(picture[0] - width, 0))
        y = min(max(y, 0), max(picture[1] - height, 0))
        place = (x, y, x + width, y + height)
        if all(x >= b[2] or place[2] <= b[0] or y >= b[3] or place[3] <= b[1] for b in taken):
            taken.append(place)
            draw.rectangle((x, y, x + width - 1, y + height - 1), fill=mark.kind.colour)
            draw_text(draw, (x + 3, y + 1), mark.text, size)
            return


def draw_text(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, *, bold: bool = False) -> None:
    """Write dark text, its upper left corner at a place."""
    draw.text(place, text, fill=_INK, font=font(size, bold=bold))


def draw_key(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], width: int, kinds: Sequence[MarkKind], size: int
) -> int:
    """Draw what the colours mean, in as many lines as it takes; return the height."""
    x, y, line = place[0], place[1], size + 10
    for kind in kinds:
        needed = round(font(size).getlength(kind.words)) + 50
        if x > place[0] and x + needed > place[0] + width:
            x, y = place[0], y + line
        draw_box(draw, (x + 2, y + 2, x + 24, y + size + 1), kind)
        draw_text(draw, (x + 32, y), kind.words, size)
        x += needed
    return y + line - place[1]


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font of the pictures, DejaVu Sans, which matplotlib brings along."""
    return ImageFont.truetype(_font_file(bold), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _font_file(bold: bool) -> str:
    import matplotlib

    return f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf"


@cache
def _signs() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(_font_file(False)).get_charmap())


def drawable(text: str) -> bool:
    """Return whether the font has all signs of a text."""
    return all(ord(sign) in _signs() for sign in text)


def shortened_to(text: str, width: float, size: int, *, bold: bool = False) -> str:
    """Cut a text that is wider than so many pixels in the middle."""
    own = font(size, bold=bold)
    kept = len(text)
    short = text
    while own.getlength(short) > width and kept > 2:
        kept -= 1
        head = (kept + 1) // 2
        short = f"{text[:head]}…{text[len(text) - (kept - head) :]}"
    return short

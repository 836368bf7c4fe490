"""One image as a sheet: the ground truth and every table in a panel of its own, and the key of the colours."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from evaluation.files.pictures import picture_size
from evaluation.pairs import decode_masks
from evaluation.pictures.marks import (
    Mark,
    MarkKind,
    draw_key,
    draw_marks,
    draw_text,
    drawable,
    mask_piece,
    shortened_to,
)
from evaluation.pictures.verdicts import NEITHER, RIGHT, WRONG
from fusion.errors import InputError
from fusion.masks import mask_text, taken

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation.columns import MaskRuns
    from evaluation.pictures.gallery import Gallery, Shown

__all__ = ["draw_sheet"]

_MARGIN = 12
_TITLE, _HEAD, _NOTE = 16, 13, 12
_GROUND = (255, 255, 255)
_EMPTY = (205, 205, 205)
_NARROWEST = 240  # of a panel with its heading
_LARGEST_SCALE = 4.0
_KINDS = {RIGHT: MarkKind.RIGHT, WRONG: MarkKind.WRONG, NEITHER: MarkKind.NEITHER}
_SIDES = np.array([0, 1, 0, 1])


@dataclass(frozen=True)
class _Panel:
    heading: str
    counts: str
    marks: list[Mark]


def draw_sheet(shown: "Shown") -> tuple[Image.Image, list[str]]:
    """Draw an image with all panels; also return what could not be shown, in words."""
    gallery, place = shown.gallery, shown.place
    said: list[str] = []
    path = gallery.folder.find(place) if gallery.folder is not None else None
    if gallery.folder is not None and path is None:
        said.append(f"image {shown.image_id} has no picture in {gallery.folder.folder}")
    frame, path = _frame(gallery, place, path, said)
    scale = min(gallery.size / max(frame), _LARGEST_SCALE)
    size = max(round(frame[0] * scale), 1), max(round(frame[1] * scale), 1)
    ground = _ground(gallery, path, frame, size, said)
    panels = [_truth_panel(gallery, place, frame)]
    panels += [_table_panel(gallery, place, frame, number) for number in range(len(gallery.verdicts))]
    kinds = [kind for kind in MarkKind if any(mark.kind is kind for panel in panels for mark in panel.marks)]
    kinds = [kind for kind in MarkKind if kind in kinds or kind is not MarkKind.NEITHER]
    return _laid_out(shown.title + ("" if path else " · no picture file"), ground, panels, kinds), said


def _frame(
    gallery: "Gallery", place: int, path: "Path | None", said: list[str]
) -> "tuple[tuple[int, int], Path | None]":
    """Return width and height of an image, and its file if that can be read at all."""
    width, height = int(gallery.truth.width[place]), int(gallery.truth.height[place])
    if width > 0 and height > 0:
        return (width, height), path
    if path is not None:
        try:
            return picture_size(path), path
        except InputError as error:
            said.append(str(error))
    truth = gallery.prepared.truth
    rows = slice(truth.start[place], truth.start[place + 1])
    ends = [truth.x2[rows], truth.y2[rows]]
    for number, own in enumerate(gallery.verdicts):
        xywh = own.table.xywh[gallery.detections(place, number)]
        ends = [np.append(end, near + far) for end, near, far in zip(ends, xywh.T[:2], xywh.T[2:], strict=True)]
    wide, high = (int(np.ceil(min(max(end.max(initial=1.0), 1.0), 1e6))) for end in ends)
    return (wide, high), None


def _ground(
    gallery: "Gallery", path: "Path | None", frame: tuple[int, int], size: tuple[int, int], said: list[str]
) -> Image.Image:
    """Return what marks are drawn on: the picture, or an empty frame."""
    if path is not None and gallery.folder is not None:
        try:
            return gallery.folder.read(path, frame, max(size)).resize(size, Image.Resampling.BILINEAR)
        except InputError as error:
            said.append(str(error))
    return Image.new("RGB", size, _EMPTY)


def _truth_panel(gallery: "Gallery", place: int, frame: tuple[int, int]) -> _Panel:
    prepared = gallery.prepared
    truth, rows = prepared.truth, gallery.objects(place)
    marks = []
    for row in rows.tolist():
        piece = None if prepared.masks is None else mask_piece(prepared.masks, row)
        kind = MarkKind.NEITHER if truth.outside[row] & 1 else MarkKind.OBJECT
        marks.append(Mark(kind, _shares(_truth_box(gallery, row), frame), _name(gallery, truth.category[row]), piece))
    return _Panel("ground truth", f"{len(rows)} annotated", sorted(marks, key=_extent))


def _table_panel(gallery: "Gallery", place: int, frame: tuple[int, int], number: int) -> _Panel:
    own, truth = gallery.verdicts[number], gallery.prepared.truth
    rows = gallery.detections(place, number)
    masks = _masks_of(gallery, number, rows)
    x, y, w, h = (own.table.column(name)[rows] for name in "xywh")
    boxes = np.stack([x, y, x + w, y + h], axis=1)
    marks = []
    for at, row in enumerate(rows.tolist()):
        kind = _KINDS[int(own.verdict[row])]
        text = f"{_name(gallery, own.category[row])} {_score(float(own.table.score[row]))}".strip()
        piece = None if masks is None else mask_piece(masks, at)
        marks.append(Mark(kind, _shares(boxes[at], frame), f"✗ {text}" if kind is MarkKind.WRONG else text, piece))
    low, high = truth.start[place : place + 2]
    for row in (low + np.flatnonzero(own.missed[low:high])).tolist():
        marks.append(
            Mark(MarkKind.MISSED, _shares(_truth_box(gallery, row), frame), _name(gallery, truth.category[row]))
        )
    right, wrong, missed = gallery.counts(place)[number]
    least = "" if np.isinf(own.least_score) else f"   score ≥ {_score(own.least_score)}"
    return _Panel(own.name, f"TP {right}  FP {wrong}  FN {missed}{least}", marks)


def _masks_of(gallery: "Gallery", number: int, rows: np.ndarray) -> "MaskRuns | None":
    own = gallery.verdicts[number]
    if gallery.prepared.masks is None or own.table.mask is None or not len(rows):
        return None
    return decode_masks(mask_text(taken(own.table.mask, rows)), f"{own.name}, row", rows)


def _truth_box(gallery: "Gallery", row: int) -> np.ndarray:
    truth = gallery.prepared.truth
    return np.array([truth.x1[row], truth.y1[row], truth.x2[row], truth.y2[row]])


def _shares(box: np.ndarray, frame: tuple[int, int]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (box / np.array(frame, np.float64)[_SIDES]).tolist()
    return x1, y1, x2, y2


def _extent(mark: Mark) -> float:
    """Small marks come first, so that they lie on top."""
    x1, y1, x2, y2 = mark.box
    return (x2 - x1) * (y2 - y1)


def _name(gallery: "Gallery", category: int) -> str:
    """Return a category's name, shortened; nothing where there is one category only."""
    if len(gallery.prepared.category_ids) == 1 or gallery.category is not None:
        return ""
    names, keys = gallery.prepared.category_names, gallery.prepared.category_ids
    return _label(names[category], int(keys[category]), gallery.size // 4)


@cache
def _label(name: str, key: int, width: int) -> str:
    return shortened_to(name, width, _NOTE) if drawable(name) else f"category {key}"


def _score(score: float) -> str:
    return f"{score:.2f}".removeprefix("0") if 0 <= score < 0.995 else f"{score:.3g}"


def _laid_out(title: str, ground: Image.Image, panels: list[_Panel], kinds: list[MarkKind]) -> Image.Image:
    """Put panels into rows, with headings above them, the title on top and the key at the bottom."""
    width, height = max(ground.width, _NARROWEST), ground.height
    across = _columns(len(panels), width, height)
    down = -(-len(panels) // across)
    head = _HEAD + _NOTE + 12
    whole = _MARGIN + across * (width + _MARGIN)
    top = _MARGIN + _TITLE + 10
    key = top + down * (head + height + _MARGIN)
    scratch = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    sheet = Image.new("RGB", (whole, key + draw_key(scratch, (_MARGIN, 0), whole - 2 * _MARGIN, kinds, _HEAD)), _GROUND)
    draw = ImageDraw.Draw(sheet)
    draw_text(draw, (_MARGIN, _MARGIN), shortened_to(title, whole - 2 * _MARGIN, _TITLE, bold=True), _TITLE, bold=True)
    for number, panel in enumerate(panels):
        x = _MARGIN + (number % across) * (width + _MARGIN)
        y = top + (number // across) * (head + height + _MARGIN)
        draw_text(draw, (x, y), shortened_to(panel.heading, width, _HEAD, bold=True), _HEAD, bold=True)
        draw_text(draw, (x, y + _HEAD + 5), panel.counts, _NOTE)
        picture = ground.copy()
        draw_marks(picture, panel.marks)
        sheet.paste(picture, (x, y + head))
    draw_key(draw, (_MARGIN, key), whole - 2 * _MARGIN, kinds, _HEAD)
    return sheet


def _columns(panels: int, width: int, height: int) -> int:
    """Return how many panels go side by side, so that the sheet is near to three by two and has few empty places."""

    def cost(across: int) -> tuple[float, int]:
        down = -(-panels // across)
        return abs(float(np.log(across * width / (down * height) / 1.5))) + (across * down - panels) / panels, -across

    return min(range(1, panels + 1), key=cost)

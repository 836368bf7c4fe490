"""Tables of any origin with a row per box: which column is what, told by the usual names."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.files.raw_columns import keyed, raw_columns
from fusion.arrow_arrays import numpy_array
from fusion.coco_results import RawResults
from fusion.coco_results.raw import RecordKey
from fusion.errors import InputError

__all__ = ["BoxColumns", "results_of"]

_IMAGE = (
    "image_id",
    "imageid",
    "image",
    "file_name",
    "filename",
    "image_name",
    "img_id",
    "img",
    "file",
    "image_path",
    "id",
)
_LABEL = ("category_id", "class_id", "label_id", "class", "category", "label", "cls", "labelname")
_NAME = ("category_name", "class_name", "label_name", "name")
_SCORE = ("score", "confidence", "conf", "scores", "prob", "probability", "rounded_score")
_BOXES = (
    ("xyxy", ("xmin", "ymin", "xmax", "ymax")),
    ("xyxy", ("x1", "y1", "x2", "y2")),
    ("xyxy", ("left", "top", "right", "bottom")),
    ("xyxy", ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")),
    ("cxcywh", ("xcenter", "ycenter", "width", "height")),
    ("cxcywh", ("xcenter", "ycenter", "w", "h")),
    ("cxcywh", ("centerx", "centery", "width", "height")),
    ("cxcywh", ("cx", "cy", "w", "h")),
    ("cxcywh", ("xc", "yc", "w", "h")),
    ("xywh", ("x", "y", "w", "h")),
    ("xywh", ("x", "y", "width", "height")),
    ("xywh", ("left", "top", "width", "height")),
    ("xywh", ("xmin", "ymin", "width", "height")),
    ("xywh", ("bboxx", "bboxy", "bboxw", "bboxh")),
    ("xywh", ("bboxleft", "bboxtop", "bboxwidth", "bboxheight")),
)


class BoxColumns:
    """Which columns of a table are what.

    Args:
        names: The names of its columns.
        where: The table, for messages.

    Attributes:
        image: Name of the column of images.
        label: Name of that of category ids, or names; None without.
        name: Name of that of category names; None without.
        score: Name of that of scores; None without.
        box: Names of the four columns of boxes, or of one of texts such as "[1, 2, 3, 4]".
        native: How boxes stand in them.

    Raises:
        InputError: If there is no column of images or of boxes.
    """

    def __init__(self, names: Sequence[str], where: str) -> None:
        self._where, self._names = where, list(names)
        plain = {_plain(name): name for name in reversed(names)}
        found: tuple[str, tuple[str, ...]] | None = next(
            (one for one in _BOXES if all(_plain(side) in plain for side in one[1])), None
        )
        if found is None and "bbox" in plain:
            found = ("xywh", ("bbox",))
        image = self._first(plain, _IMAGE)
        if found is None or image is None:
            what = "boxes, such as xmin, ymin, xmax, ymax" if found is None else "images, such as image_id"
            raise InputError(
                where, f"expected columns of {what}; it has {', '.join(names)[:200]}", "Name them in the usual way"
            )
        self.native, self.image = found[0], image
        self.box = tuple(plain[_plain(side)] for side in found[1])
        self.label, self.name = self._first(plain, _LABEL), self._first(plain, _NAME)
        self.score = self._first(plain, _SCORE)

    @staticmethod
    def fit(names: Sequence[str]) -> bool:
        """Tell whether columns of such names are boxes with images and scores."""
        try:
            return BoxColumns(names, "").score is not None
        except InputError:
            return False

    @property
    def texts(self) -> list[str]:
        """The columns that are read as texts."""
        names = [self.image, self.label, self.name, self.box[0] if len(self.box) == 1 else None]
        return [name for name in names if name is not None]

    @property
    def numbers(self) -> list[str]:
        """The columns that are read as numbers.

        Raises:
            InputError: If there is no column of scores.
        """
        if self.score is None:
            got = f"expected a column of scores, such as score; it has {', '.join(self._names)[:200]}"
            raise InputError(self._where, got, "Write the confidence of each box")
        return [self.score, *(self.box if len(self.box) == 4 else ())]

    @staticmethod
    def _first(plain: dict[str, str], wanted: Sequence[str]) -> str | None:
        return next((plain[_plain(name)] for name in wanted if _plain(name) in plain), None)


def results_of(
    table: pa.Table, columns: BoxColumns, where: str, place: Callable[[int], str], notes: Sequence[str] = ()
) -> RawResults:
    """Return the boxes of a table, texts as texts and numbers as float64.

    Raises:
        InputError: If a field is empty; the first one is named.
    """
    for name in (*columns.texts, *columns.numbers):
        missing = np.flatnonzero(numpy_array(pc.is_null(table[name])))
        if len(missing):
            more = f"; {len(missing)} rows are so" if len(missing) > 1 else ""
            problem = f"expected a value, got nothing{more}"
            raise InputError(f"{where}, {place(int(missing[0]))}, column {name}", problem, "Mend or drop the row")
    images, image = keyed(table[columns.image])
    categories, category = _categories(table, columns)
    box = [numpy_array(table[name]) for name in columns.box] if len(columns.box) == 4 else None
    found = raw_columns(
        images=images,
        image=image,
        categories=categories,
        category=category,
        score=numpy_array(table[columns.score]),
        box=_parsed(table[columns.box[0]], where, place) if box is None else np.stack(box, axis=1),
    )
    return RawResults.of(where, found, native=columns.native, place=place, notes=notes)


def _categories(table: pa.Table, columns: BoxColumns) -> tuple[list[RecordKey], np.ndarray]:
    if columns.label is None and columns.name is None:
        return [RecordKey(1, None)], np.zeros(table.num_rows, np.int32)
    ids, label = keyed(table[columns.label or columns.name])
    if columns.label is None or columns.name is None:
        return ids, label
    names, name = keyed(table[columns.name], "name")
    pairs, place = np.unique(label.astype(np.int64) * max(len(names), 1) + name, return_inverse=True)
    keys = [RecordKey(ids[pair // len(names)].id, names[pair % len(names)].name) for pair in pairs.tolist()]
    return keys, place.astype(np.int32)


def _parsed(texts: pa.ChunkedArray, where: str, place: Callable[[int], str]) -> np.ndarray:
    """Return boxes from texts such as "[1, 2, 3, 4]"."""
    words = pc.split_pattern_regex(pc.utf8_trim(texts.cast(pa.string()), " ()[]"), r"[,\s]+").combine_chunks()
    count = numpy_array(pc.list_value_length(words))
    wrong = np.flatnonzero(count != 4)
    if len(wrong):
        problem = f"expected four numbers, got {texts[int(wrong[0])].as_py()[:60]!r}"
        raise InputError(f"{where}, {place(int(wrong[0]))}", problem, "Mend or drop the row")
    try:
        return numpy_array(pc.cast(words.flatten(), pa.float64())).reshape(-1, 4)
    except pa.ArrowInvalid as error:
        raise InputError(where, f"expected numbers as boxes ({str(error).splitlines()[0]})", "Mend the rows") from error


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", name.strip()).lower()

"""Ground truth from Open Images' CSV files, raw or already expanded by the class tree."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import compute

from evaluation.ground_truth import GroundTruth, Labels
from evaluation.open_images_csv.columns import TEXT, CsvFile, codes_of, read_csv
from evaluation.open_images_csv.masks import MaskRows, read_masks
from fusion.class_descriptions import read_class_descriptions
from fusion.corners import from_corners
from fusion.errors import InputError
from fusion.hierarchy import Hierarchy, read_hierarchy

__all__ = ["read_open_images"]

_Path = str | os.PathLike[str]
_CORNERS = ("XMin", "XMax", "YMin", "YMax")
_SIZE = ("ImageWidth", "ImageHeight")


class _Rows(NamedTuple):
    """Boxes as columns; `mask` is the place among the masks, -1 for none."""

    image: np.ndarray
    label: np.ndarray
    corners: np.ndarray
    group: np.ndarray
    mask: np.ndarray

    def taken(self, rows: np.ndarray) -> "_Rows":
        return _Rows(*(column[rows] for column in self))


def read_open_images(
    *,
    boxes: _Path | None,
    image_labels: _Path | None = None,
    class_descriptions: _Path | None = None,
    hierarchy: _Path | Hierarchy | None = None,
    masks: _Path | None = None,
    mask_folder: _Path | None = None,
) -> GroundTruth:
    """Read Open Images ground truth: the files of the challenges, or those of the V4 to V7 sets.

    Columns beyond those named are ignored. Boxes are normalized. Categories are numbered from 1: in the
    order of the class descriptions, which is that of the official label map, else of the sorted labels.

    Args:
        boxes: ImageID, LabelName, XMin, XMax, YMin, YMax and, where there are regions, IsGroupOf. A row
            without label and box is an image without boxes. ImageWidth and ImageHeight, where the file has
            them, are what tables in pixels need. None for images of which only labels or masks
            are known.
        image_labels: ImageID, LabelName and Confidence, 1 for present and 0 for absent. Labels of
            classes that the class descriptions do not have are dropped, with a note.
        class_descriptions: Two columns, label and name; without a header, or with LabelName, DisplayName.
        hierarchy: The class tree, for raw files: boxes, masks and labels of present classes are copied to
            all their ancestors, labels of absent ones to all descendants. None for files that are
            expanded already.
        masks: ImageID, LabelName and either XMin ... YMax, ImageWidth, ImageHeight, Mask (and
            IsGroupOf), or BoxXMin ... BoxYMax, MaskPath. A mask belongs to the box of its label with
            equal corners; as officially, one without such a box is an object of its own.
        mask_folder: Where the PNG files of MaskPath are.

    Returns:
        The ground truth; `crowd` holds group-of.

    Raises:
        InputError: If a file is not there, a column is missing, or a value cannot be used; the file, its
            line and column are named.
    """
    tree = read_hierarchy(hierarchy) if isinstance(hierarchy, (str, os.PathLike)) else hierarchy
    notes: list[str] = []
    box_file, blank = (None, None) if boxes is None else _box_file(boxes)
    label_file = None if image_labels is None else _label_file(image_labels)
    mask_rows = None if masks is None else read_masks(masks, mask_folder)
    files = [file for file in (box_file, label_file, mask_rows.file if mask_rows else None) if file is not None]
    if not files:
        raise InputError("ground truth", "expected a file of boxes, labels or masks, got none")
    names = _categories(class_descriptions, files, tree)
    label_code = {label: code for code, label in enumerate(names)}
    if tree is not None and len(set(tree) - set(names)):
        notes.append(
            f"{len(set(tree) - set(names))} classes of the hierarchy have no description; nothing is copied to them"
        )
    image_ids = sorted({word for file in (*files, blank) if file is not None for word in _words(file.texts("ImageID"))})
    image_code = {image: code for code, image in enumerate(image_ids)}
    above = None if tree is None else _relatives(tree, names, tree.ancestors)
    rows = _no_rows() if box_file is None else _box_rows(box_file, image_code, label_code, tree, notes)
    rows = _expanded(rows, above)
    masked = None if mask_rows is None else mask_rows.file  # masks may be of another size than images
    sized = [file for file in (masked, box_file, blank) if file is not None]
    width, height = (_sizes(sized, name, image_code) for name in _SIZE)
    segmentation = None
    if mask_rows is not None:
        own = _mask_rows(mask_rows, image_code, label_code, tree)
        rows = _joined(rows, _expanded(own, above), mask_rows.group is not None, notes)
        segmentation = mask_rows.masks.take(pa.array(rows.mask, mask=rows.mask < 0))
    positive = negative = None
    if label_file is not None:
        below = None if tree is None else _relatives(tree, names, tree.descendants)
        positive, negative = _labels(label_file, image_code, label_code, tree, (above, below), notes)
    xywh, far = from_corners(rows.corners[:, [0, 2, 1, 3]])
    return GroundTruth(
        image_id=np.array(image_ids, dtype=object),
        width=width,
        height=height,
        file_name=np.full(len(image_ids), "", dtype=object),
        category_id=np.arange(1, len(names) + 1, dtype=np.int32),
        category_name=tuple(names.values()),
        annotation_id=np.arange(1, len(rows.image) + 1),
        image=rows.image,
        category=rows.label,
        xywh=xywh,
        far=far,
        area=xywh[:, 2] * xywh[:, 3],
        crowd=rows.group,
        segmentation=segmentation,
        positive=positive,
        negative=negative,
        unit="normalized",
        category_label=tuple(names),
        notes=tuple(notes),
        source=str(files[0].path if boxes is None else boxes),
    )


def _no_rows() -> _Rows:
    none = np.zeros(0, np.int32)
    return _Rows(none, none, np.zeros((0, 4)), np.zeros(0, bool), none)


def _words(words: pa.Array) -> list[str]:
    return [word for word in compute.unique(words).to_pylist() if word is not None]


def _sizes(files: Sequence[CsvFile], name: str, image_code: Mapping[str, int]) -> np.ndarray:
    """Return the width or height of each image, int32, 0 where no file tells."""
    sizes = np.zeros(len(image_code), np.int32)
    for file in files:
        if name in file:
            told = np.flatnonzero(file.filled(name))
            file.require(~(file.numbers(name) < 1), name, "a number of pixels")
            sizes[codes_of(file.texts("ImageID"), image_code)[told]] = file.numbers(name)[told]
    return sizes


def _box_file(path: _Path) -> tuple[CsvFile, CsvFile]:
    """Return the rows with a box, and those of images without."""
    numbers = {name: pa.float64() for name in _CORNERS}
    optional = {"IsGroupOf": pa.int8()} | dict.fromkeys(_SIZE, pa.int32())
    file = read_csv(path, {"ImageID": TEXT, "LabelName": TEXT} | numbers, optional)
    names = ("LabelName", *_CORNERS, *(("IsGroupOf",) if _groups(file) else ()))
    filled = np.stack([file.filled(name) for name in names])
    some = filled.any(axis=0)
    file.require(file.filled("ImageID"), "ImageID", "the id of an image")
    for name, column in zip(names, filled, strict=True):
        file.require(column | ~some, name, "a value")
    if some.all():
        return file, file.select(np.array([], np.int64))
    return file.select(np.flatnonzero(some)), file.select(np.flatnonzero(~some))


def _groups(file: CsvFile) -> bool:
    """Tell whether a file says which boxes are regions; an empty column does not."""
    return "IsGroupOf" in file and bool(file.filled("IsGroupOf").any())


def _label_file(path: _Path) -> CsvFile:
    file = read_csv(path, {"ImageID": TEXT, "LabelName": TEXT, "Confidence": pa.float64()})
    for name in ("ImageID", "LabelName", "Confidence"):
        file.require(file.filled(name), name, "a value")
    confidence = file.numbers("Confidence")
    file.require(
        (confidence == 0) | (confidence == 1),
        "Confidence",
        "1 for a class that is present or 0 for one that is absent",
        "Use the labels verified by people",
    )
    return file


def _categories(path: _Path | None, files: Sequence[CsvFile], tree: Hierarchy | None) -> dict[str, str]:
    """Return the name of each label, in the order of the category ids."""
    if path is None:
        used = {word for file in files for word in _words(file.texts("LabelName"))}
        if tree is not None:
            used |= {
                other for label in used & set(tree) for other in (*tree.ancestors(label), *tree.descendants(label))
            }
        return {label: label for label in sorted(used)}
    return read_class_descriptions(path)


def _relatives(
    tree: Hierarchy, names: Mapping[str, str], relatives: Callable[[str], tuple[str, ...]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return each category itself and its relatives among the categories, by code (CSR)."""
    code = {label: i for i, label in enumerate(names)}
    lists = [[code[o] for o in (label, *(relatives(label) if label in tree else ())) if o in code] for label in names]
    start = np.concatenate(([0], np.cumsum([len(entry) for entry in lists]))).astype(np.int64)
    return start, np.array([other for entry in lists for other in entry], dtype=np.int32)


def _coded(
    file: CsvFile, image_code: Mapping[str, int], label_code: Mapping[str, int], tree: Hierarchy | None
) -> tuple[np.ndarray, np.ndarray]:
    label = codes_of(file.texts("LabelName"), label_code)
    remedy = "Use files that belong together, or drop the row"
    file.require(label >= 0, "LabelName", "a label of the class descriptions", remedy)
    _require_in_tree(file, tree)
    return codes_of(file.texts("ImageID"), image_code), label


def _require_in_tree(file: CsvFile, tree: Hierarchy | None) -> None:
    if tree is not None:
        inside = codes_of(file.texts("LabelName"), dict.fromkeys(tree, 0)) == 0
        file.require(inside, "LabelName", "a label of the hierarchy", "Use files that belong together, or drop the row")


def _box_rows(
    file: CsvFile,
    image_code: Mapping[str, int],
    label_code: Mapping[str, int],
    tree: Hierarchy | None,
    notes: list[str],
) -> _Rows:
    image, label = _coded(file, image_code, label_code, tree)
    corners = np.stack([file.numbers(name) for name in _CORNERS], axis=1)
    for i, name in enumerate(_CORNERS):
        good = (corners[:, i] >= 0) & (corners[:, i] <= 1)
        file.require(good, name, "a share of the image's side in [0, 1]", "Divide pixels by the size of the image")
    file.require(corners[:, 1] >= corners[:, 0], "XMax", "at least XMin")
    file.require(corners[:, 3] >= corners[:, 2], "YMax", "at least YMin")
    group = np.zeros(len(image), dtype=bool)
    if _groups(file):
        flags = file.numbers("IsGroupOf")
        group = flags != 0
        unknown = int(np.count_nonzero(flags < 0))
        if unknown:
            notes.append(f"IsGroupOf is below 0 (unknown) in {unknown} rows; they count as group-of, as officially")
    else:
        notes.append("there is no column IsGroupOf; no box counts as group-of")
    return _Rows(image, label, corners, group, np.full(len(image), -1, np.int32))


def _mask_rows(
    given: MaskRows, image_code: Mapping[str, int], label_code: Mapping[str, int], tree: Hierarchy | None
) -> _Rows:
    image, label = _coded(given.file, image_code, label_code, tree)
    group = np.zeros(len(image), dtype=bool) if given.group is None else given.group
    return _Rows(image, label, given.corners, group, np.arange(len(image), dtype=np.int32))


def _expanded(rows: _Rows, above: tuple[np.ndarray, np.ndarray] | None) -> _Rows:
    """Copy each row to all ancestors of its label, itself first."""
    if above is None:
        return rows
    source, label = _spread(rows.label, above)
    return rows.taken(source)._replace(label=label)


def _spread(label: np.ndarray, relatives: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the row and the label of each copy."""
    start, other = relatives
    count = np.diff(start)[label]
    source = np.repeat(np.arange(len(label)), count)
    first = np.repeat(np.cumsum(count) - count, count)
    return source, other[start[label[source]] + np.arange(len(source)) - first]


def _joined(boxes: _Rows, masks: _Rows, with_group: bool, notes: list[str]) -> _Rows:
    """Join boxes and masks of equal label and corners, every one with every one, and keep those without a partner."""
    import pandas as pd

    categories = int(max(boxes.label.max(initial=0), masks.label.max(initial=0))) + 1
    cells = [rows.image.astype(np.int64) * categories + rows.label for rows in (boxes, masks)]
    near = np.isin(cells[0], cells[1])
    keys = ["cell", *_CORNERS, *(["group"] if with_group else [])]

    def frame(rows: _Rows, cell: np.ndarray) -> pd.DataFrame:
        columns = dict(zip(_CORNERS, rows.corners.T, strict=True))
        return pd.DataFrame({"cell": cell, **columns, "group": rows.group, "row": np.arange(len(cell))})

    left, right = boxes.taken(np.flatnonzero(near)), masks
    pairs = frame(left, cells[0][near]).merge(frame(right, cells[1]), how="outer", on=keys, suffixes=("_box", "_mask"))
    box = pairs["row_box"].fillna(-1).to_numpy(np.int64)
    mask = pairs["row_mask"].fillna(-1).to_numpy(np.int64)
    of_box = left.taken(box[box >= 0])._replace(
        mask=np.where(mask >= 0, right.mask[mask], -1)[box >= 0].astype(np.int32)
    )
    alone = right.taken(mask[box < 0])
    if len(alone.image):
        notes.append(f"{len(alone.image)} masks belong to no box; each is an object of its own, as officially")
    parts = (boxes.taken(np.flatnonzero(~near)), of_box, alone)
    rows = _Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    # the official code joins in this order, which decides between equally good objects
    return rows.taken(np.lexsort((rows.group, *rows.corners.T[::-1], rows.image, rows.label)))


def _labels(
    file: CsvFile,
    image_code: Mapping[str, int],
    label_code: Mapping[str, int],
    tree: Hierarchy | None,
    relatives: tuple[tuple[np.ndarray, np.ndarray] | None, tuple[np.ndarray, np.ndarray] | None],
    notes: list[str],
) -> tuple[Labels, Labels]:
    """Return the classes known to be present and to be absent."""
    label = codes_of(file.texts("LabelName"), label_code)
    unknown = np.count_nonzero(label < 0)
    if unknown:
        notes.append(f"{unknown} image labels are of classes without a description; they were dropped")
        file = file.select(np.flatnonzero(label >= 0))
        label = label[label >= 0]
    _require_in_tree(file, tree)
    image = codes_of(file.texts("ImageID"), image_code)
    present = file.numbers("Confidence") == 1
    result = []
    for chosen, others in zip((present, ~present), relatives, strict=True):
        images, labels = image[chosen], label[chosen]
        if others is not None:
            source, labels = _spread(labels, others)
            images = images[source]
        key = np.sort(images.astype(np.int64) * len(label_code) + labels)  # np.unique takes five times as long
        key = key[np.concatenate((key[:1] == key[:1], key[1:] != key[:-1]))]
        start = np.searchsorted(key, np.arange(len(image_code) + 1) * len(label_code)).astype(np.int64)
        result.append(Labels(start, (key % max(len(label_code), 1)).astype(np.int32)))
    return result[0], result[1]

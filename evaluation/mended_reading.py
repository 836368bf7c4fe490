"""Ground truth read although entries of it cannot be used: each kind of them is a finding, and mended."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.checks.base import TruthFinding, at
from evaluation.coco_entries import ImageColumns
from evaluation.coco_ground_truth import coco_columns, coco_truth
from evaluation.formats import recognised
from evaluation.ground_truth import GroundTruth
from evaluation.truth_columns import check_boxes, check_unique, indices
from fusion.errors import InputError

__all__ = ["read_mended"]

_PER_IMAGE = ("image_id", "width", "height", "file_name")
_PER_CATEGORY = ("category_id", "category_name", "frequency")
_PER_ANNOTATION = (
    "annotation_id", "annotation_image_id", "annotation_category_id", "xywh", "area", "crowd", "ignore", "segmentation",
)  # fmt: skip


def read_mended(
    path: str | os.PathLike[str], files: Mapping[str, Path] | None = None
) -> tuple[GroundTruth, list[TruthFinding]]:
    """Read ground truth of any format; a COCO file also where `read_coco` refuses entries of it.

    Args:
        path: Annotations.
        files: What goes with them, by option, see `evaluation.formats`.

    Returns:
        The ground truth, mended; and what was mended.

    Raises:
        InputError: If it cannot be read all the same.
    """
    kind = recognised(path, "truth")
    if kind.name != "coco" or Path(path).is_dir():
        return kind.truth(Path(path), files or {}), []
    columns, images = coco_columns(path)
    source, found = columns["source"], []
    for noun, names in (("image", _PER_IMAGE), ("category", _PER_CATEGORY)):
        ids = np.asarray(columns[f"{noun}_id"])
        kept, twice = _last_of_each(ids)
        effect = f"the official code keeps the last entry of such an id, and takes all annotations for that {noun}'s"
        found += _refused(partial(check_unique, ids, source, noun), effect, twice, ids)
        columns = _rows(columns, names, kept)
    for noun in ("image", "category"):
        ids, used = (np.asarray(columns[name]) for name in (f"{noun}_id", f"annotation_{noun}_id"))
        unknown = np.flatnonzero(~np.isin(used, ids))
        effect = "the official code leaves these annotations out: figures are of the others"
        found += _refused(partial(indices, ids, used, source, noun), effect, unknown, columns["annotation_id"])
        columns = _rows(columns, _PER_ANNOTATION, np.setdiff1d(np.arange(len(used)), unknown))
    boxes, areas = columns["xywh"], columns["area"]
    bad = np.flatnonzero(~np.isfinite(boxes).all(axis=1) | ~np.isfinite(areas) | (boxes[:, 2:] < 0).any(axis=1))
    effect = "by the official code no detection overlaps these boxes, so that their objects count as missed"
    found += _refused(partial(check_boxes, boxes, areas, source), effect, bad, columns["annotation_id"])
    columns = _rows(columns, _PER_ANNOTATION, np.setdiff1d(np.arange(len(boxes)), bad))
    return _numbered(columns, images, found)


def _numbered(
    columns: dict[str, Any], images: ImageColumns, found: list[TruthFinding]
) -> tuple[GroundTruth, list[TruthFinding]]:
    """Make the ground truth, each annotation with an id of its own."""
    ids = np.asarray(columns["annotation_id"])
    twice = _last_of_each(ids)[1]
    fresh = ids.copy()
    fresh[twice] = np.arange(len(twice)) + max(int(ids.max(initial=0)) + 1, 1)
    truth = coco_truth({**columns, "annotation_id": fresh}, images)
    if not len(twice):
        return truth, found
    effect = "pycocotools looks annotations up by id: the last of such an id counts in place of the others as well"
    [finding] = _refused(partial(check_unique, ids, columns["source"], "annotation"), effect, twice, ids)
    last = {number: row for row, number in enumerate(ids.tolist())}
    official = truth.only(np.array([last[number] for number in ids.tolist()], np.int64))
    official = replace(official, annotation_id=truth.annotation_id)
    return truth, [*found, replace(finding, examples=at(truth, twice), official=official, mended=lambda: truth)]


def _refused(check: Callable[[], object], effect: str, rows: np.ndarray, ids: np.ndarray) -> list[TruthFinding]:
    """Return what a check of the reader refuses, in its words."""
    try:
        check()
    except InputError as error:
        where = error.where.split(", ", 1)[1:]
        what = ": ".join((*where, error.problem))
        examples = [{"id": value} for value in np.asarray(ids)[rows[:5]].tolist()]
        return [TruthFinding(what, effect, len(rows), changes=True, examples=examples, check="unusable_entries")]
    return []


def _last_of_each(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the last entry of each id, ascending, and the other rows."""
    last = {value: row for row, value in enumerate(ids.tolist())}
    kept = np.array(sorted(last.values()), np.int64)
    return kept, np.setdiff1d(np.arange(len(ids)), kept)


def _rows(columns: dict[str, Any], names: Sequence[str], rows: np.ndarray) -> dict[str, Any]:
    """Return the columns with some rows of those of one kind."""
    if not names or len(rows) == len(columns[names[0]]):
        return columns
    chosen = {}
    for name in names:
        column = columns[name]
        if isinstance(column, np.ndarray):
            chosen[name] = column[rows]
        elif column is not None:
            chosen[name] = [column[row] for row in rows.tolist()]
    return {**columns, **chosen}

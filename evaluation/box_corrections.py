"""Learning how a member's boxes differ from those that the annotators drew."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from evaluation.folds import folds_of
from evaluation.ground_truth import GroundTruth
from evaluation.units import in_unit
from evaluation.worth import pair_objects
from fusion.box_corrections import BoxCorrection, terms
from fusion.checks import one_of
from fusion.table import DetectionTable

__all__ = ["FORMS", "BoxPairs", "correction_of", "learn_box_correction", "pair_boxes"]

FORMS = ("best", "none", "constant", "size", "position")
_COUNTS = {"none": 0, "constant": 1, "size": 5, "position": 9}
_LEAST_IOU = 0.5
_RIDGE = 10.0
_ROUNDS = 20
# parts of a correction that are tried: the mean over some groups is too much where these differ
_PARTS = (1.0, 0.75, 0.5, 0.25)
# matched boxes after which a category's own shift counts half
_OWN = (20, 50, 100, 200, 500, 1000)
# share of the error that a richer form must save on images held back
_WORTHWHILE = 0.002
_NOTHING = 1e-9  # a difference in shares of a box that only rounding makes
# range of sizes that is learned on: the middle part of the matched boxes
_TAIL = 0.005


def learn_box_correction(
    table: DetectionTable,
    ground_truth: GroundTruth,
    *,
    form: str = "best",
    groups: Sequence[object] | np.ndarray | None = None,
    per_category: bool = True,
) -> BoxCorrection:
    """Learn how far the sides of a member's boxes are from the annotated ones.

    Detections are paired with objects (`pair_boxes`). The distances of the sides, as shares of the box, are fitted by
    sums of absolute values (iteratively reweighted least squares), with a ridge on what depends on size. `best` takes
    the form, and the part of it, that leaves the smallest distances on images held back group by group; nothing, if
    nothing helps there. What a category differs by is added where that helps there too, shrunk towards 0 by the number
    of its pairs.

    Args:
        table: One member's detections; those on images outside `ground_truth` are not used.
        ground_truth: The split to learn on.
        form: "best", "none", "constant" (one shift per side), "size" (it depends on width and height) or "position"
            (on the place in the image as well: for fixed cameras only, it learns the scene).
        groups: [images] label of each image: a video, a day, a patient; see `folds_of`.
        per_category: Whether categories may have shifts of their own.

    Returns:
        The correction, with the spread that is left.

    Raises:
        InputError: If an option is not one of these, or boxes are in another unit than the ground truth's.
    """
    return correction_of(pair_boxes(table, ground_truth, groups), form, per_category=per_category)


class BoxPairs(NamedTuple):
    """A member's boxes with the objects that they find; n pairs.

    Attributes:
        boxes: float64 [n, 4], corners as the member has them.
        wanted: float64 [n, 4], how far the sides are from the annotated ones, as shares of the box.
        category: int32 [n], ids.
        fold: int64 [n], of the image; see `folds_of`.
        frame: Size of the images where all have the same; see `BoxCorrection`.
    """

    boxes: np.ndarray
    wanted: np.ndarray
    category: np.ndarray
    fold: np.ndarray
    frame: tuple[float, ...]

    @property
    def spread(self) -> tuple[float, ...]:
        """Mean distance of the four sides as they are, as shares; empty without pairs."""
        return _spread(self.wanted)

    def where(self, chosen: np.ndarray) -> "BoxPairs":
        """Return some of the pairs."""
        return BoxPairs(self.boxes[chosen], self.wanted[chosen], self.category[chosen], self.fold[chosen], self.frame)


def pair_boxes(
    table: DetectionTable, ground_truth: GroundTruth, groups: Sequence[object] | np.ndarray | None = None
) -> BoxPairs:
    """Pair detections with objects of their category at IoU 0.5 or more, best score first.

    Args:
        table: One member's detections; those on images outside `ground_truth` are not used.
        ground_truth: The split to learn on.
        groups: [images] label of each image; see `folds_of`.

    Raises:
        InputError: As `pair_objects`.
    """
    table = table.select_images(ground_truth.image_id)
    if len(table):
        ground_truth = in_unit(ground_truth, table.metadata.unit)
    _, annotation = pair_objects(table, ground_truth, _LEAST_IOU)
    rows = np.flatnonzero(annotation >= 0)
    boxes = np.stack((table.column("x"), table.column("y"), table.far("x"), table.far("y")), axis=1)[rows]
    boxes = boxes.astype(np.float64)
    size = boxes[:, 2:] - boxes[:, :2]
    usable = np.flatnonzero(np.all(size > 0, axis=1))
    rows, boxes, size = rows[usable], boxes[usable], size[usable]
    wanted = (ground_truth.corners[annotation[rows]] - boxes) / np.hstack((size, size))
    fold = folds_of(ground_truth, groups)[ground_truth.image[annotation[rows]]]
    return BoxPairs(boxes, wanted, table.category_id[rows], fold, _frame(ground_truth))


def correction_of(pairs: BoxPairs, form: str = "best", *, per_category: bool = True) -> BoxCorrection:
    """Fit a correction to pairs; see `learn_box_correction`.

    Raises:
        InputError: If the form is none of `FORMS`.
    """
    one_of("form", form, FORMS)
    frame, nothing = pairs.frame, BoxCorrection(spread=pairs.spread, frame=pairs.frame)
    if len(pairs.wanted) < 2 or form == "none":
        return nothing
    size = pairs.boxes[:, 2:] - pairs.boxes[:, :2]
    least, most = np.quantile(np.log(size), [_TAIL, 1 - _TAIL], axis=0).tolist()
    bounds = (tuple(least), tuple(most))
    part = 1.0
    if form == "best":
        form, part = _choose(pairs, bounds)
        if form == "none":
            return nothing
    side = part * _fit(pairs, _COUNTS[form], bounds)
    own = _own_shifts(pairs, _COUNTS[form], part, bounds) if per_category else {}
    low, high = bounds if _COUNTS[form] > 1 else ((), ())
    about: dict[str, Any] = {"side": side.T.tolist(), "low": low, "high": high, "category": own, "frame": frame}
    left = pairs.wanted - BoxCorrection(**about).shifts(pairs.boxes, pairs.category)
    return BoxCorrection(**about, spread=_spread(left))


_Bounds = tuple[tuple[float, ...], tuple[float, ...]]


def _choose(pairs: BoxPairs, bounds: _Bounds) -> tuple[str, float]:
    """Choose the form and the part of it that leave the smallest distances on the folds held back."""
    best, least = ("none", 1.0), np.abs(pairs.wanted).mean()
    for form in ("constant", "size"):
        found = _held_back(pairs, _COUNTS[form], bounds)
        errors = [np.abs(pairs.wanted - part * found).mean() for part in _PARTS]
        place = int(np.argmin(errors))
        if errors[place] < least * (1 - _WORTHWHILE) - _NOTHING:
            best, least = (form, _PARTS[place]), errors[place]
    return best


def _held_back(pairs: BoxPairs, count: int, bounds: _Bounds) -> np.ndarray:
    """Return the shifts of each box as learned on the other folds: float64 [n, 4]; 0 where there are none."""
    found = np.zeros_like(pairs.wanted)
    for number in np.unique(pairs.fold):
        held = pairs.fold == number
        if not held.all():
            found[held] = _shifts(pairs.boxes[held], _fit(pairs.where(~held), count, bounds), bounds)
    return found


def _shifts(boxes: np.ndarray, coefficients: np.ndarray, bounds: _Bounds) -> np.ndarray:
    shifts: np.ndarray = np.stack(terms(boxes, len(coefficients), *bounds), axis=1) @ coefficients
    return shifts


def _fit(pairs: BoxPairs, count: int, bounds: _Bounds) -> np.ndarray:
    """Return the coefficients of the sides, float64 [count, 4], that leave about the least absolute distances."""
    values = np.stack(terms(pairs.boxes, count, *bounds), axis=1)
    middle, scale = values.mean(axis=0), values.std(axis=0)
    middle[0], scale[0] = 0.0, 1.0
    scale[scale < 1e-9] = 1.0  # the same for all
    standard = (values - middle) / scale
    ridge = np.diag([0.0] + [_RIDGE] * (count - 1))
    weight = np.ones(len(values))
    found = np.zeros((count, 4))
    for _ in range(_ROUNDS):
        weighted = standard * weight[:, None]
        found = np.linalg.solve(weighted.T @ standard + ridge, weighted.T @ pairs.wanted)
        distance = np.abs(pairs.wanted - standard @ found).mean(axis=1)
        weight = 1 / np.maximum(distance, max(np.median(distance) / 2, 1e-12))
        weight /= weight.mean()
    found /= scale[:, None]
    found[0] -= middle @ found - middle[0] * found[0]
    return found


def _own_shifts(pairs: BoxPairs, count: int, part: float, bounds: _Bounds) -> dict[int, tuple[float, ...]]:
    """Return what categories differ by from the member, each shrunk by its number of pairs; {} where that is no help.

    How much is shrunk is chosen on the folds held back.
    """
    ids, kind = np.unique(pairs.category, return_inverse=True)
    if len(ids) < 2:
        return {}
    rest = pairs.wanted - part * _held_back(pairs, count, bounds)
    least, shrink = np.abs(rest).mean() * (1 - _WORTHWHILE) - _NOTHING, 0
    errors = np.zeros(len(_OWN))
    for number in np.unique(pairs.fold):
        held = pairs.fold == number
        median, size = _medians(rest[~held], kind[~held], len(ids))
        for place, half in enumerate(_OWN):
            shift = median * (size / (size + half))[:, None]
            errors[place] += np.abs(rest[held] - shift[kind[held]]).sum()
    errors /= rest.size
    place = int(np.argmin(errors))
    if errors[place] < least:
        shrink = _OWN[place]
    if not shrink:
        return {}
    rest = pairs.wanted - part * _shifts(pairs.boxes, _fit(pairs, count, bounds), bounds)
    median, size = _medians(rest, kind, len(ids))
    own = median * (size / (size + shrink))[:, None]
    return {int(key): tuple(row) for key, row in zip(ids.tolist(), own.tolist(), strict=True)}


def _medians(values: np.ndarray, kind: np.ndarray, kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the medians of each kind, float64 [kinds, 4], 0 for one that does not occur, and the sizes."""
    size = np.bincount(kind, minlength=kinds)
    found = np.zeros((kinds, 4))
    order = np.argsort(kind, kind="stable")
    for number, rows in enumerate(np.split(order, np.cumsum(size)[:-1])):
        if len(rows):
            found[number] = np.median(values[rows], axis=0)
    return found, size


def _spread(left: np.ndarray) -> tuple[float, ...]:
    return tuple(np.abs(left).mean(axis=0).tolist()) if len(left) else ()


def _frame(ground_truth: GroundTruth) -> tuple[float, ...]:
    """Return the size of the images where all have the same, in the unit of the boxes."""
    if ground_truth.unit == "normalized":
        return (1.0, 1.0)
    sizes = np.unique(np.stack((ground_truth.width, ground_truth.height), axis=1), axis=0)
    return tuple(map(float, sizes[0])) if len(sizes) == 1 and np.all(sizes > 0) else ()

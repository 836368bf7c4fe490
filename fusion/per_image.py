"""The functions of the public package `ensemble_boxes` under their own names, image by image.

Change `from ensemble_boxes import ...` to `from fusion.per_image import ...`. Names, order and defaults
of the arguments are those of ensemble_boxes 1.0.9, and so are the shapes, dtypes, order and bits of what
comes back for boxes in [0, 1] without ties. It differs, on purpose, in this:

* Nothing is clipped: pixel boxes, and boxes slightly outside of [0, 1], are used as they are. There a
  coordinate is set to 0 or 1, which shrinks a box that leaves the image, and all pixel boxes to nothing.
* Ties of score go by row, counted through the models. There they go as an unstable sort leaves them.
* Labels may be of any kind, also strings, also mixed. Numbers come back as they do there; a label of
  1.5 stays 1.5 where WBF and NMW there cut it to 1.
* `soft_nms` returns the decayed scores. There it returns the scores it was given.
* `nms` and `soft_nms` leave the caller's lists alone. There `weights` overwrites them.
* A weight of 0 leaves a model's boxes out of WBF and NMW. There the answer is NaN.
* Boxes of score 0, alone or in a cluster without any other score, come back as the first of them, with score 0, from
  WBF and NMW. There the box is NaN.
* Empty input to every function gives arrays (0, 4), (0,), (0,). There `nms` raises.
* Wrong lengths, numbers of weights and names raise `InputError`, and so do NaN and infinity. There they
  end the process, are ignored, or come back as NaN.
* Corners that are swapped are put right and boxes without area are left out as there, without warnings.
* IoUs are float64. There `nms` computes them in the dtype of the boxes.

For whole data sets use the functions on tables: one call, all threads, and the rows behind each box.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from fusion.checks import at_least, one_of, within
from fusion.columns import Columns
from fusion.errors import InputError, option
from fusion.formulas.clusters import CONFIDENCES
from fusion.kernels.cluster import NMW, WBF
from fusion.kernels.fuse import Options
from fusion.kernels.image import arrange, fuse_image
from fusion.pool import Pool
from fusion.steps.nms import Nms
from fusion.steps.soft_nms import SoftNms

__all__ = ["nms", "nms_method", "non_maximum_weighted", "soft_nms", "weighted_boxes_fusion"]

_LINEAR, _GAUSSIAN, _HARD = 1, 2, 3

Answer = tuple[np.ndarray, np.ndarray, np.ndarray]


def weighted_boxes_fusion(
    boxes_list: Sequence[Any],
    scores_list: Sequence[Any],
    labels_list: Sequence[Any],
    weights: Sequence[float] | None = None,
    iou_thr: float = 0.55,
    skip_box_thr: float = 0.0,
    conf_type: str = "avg",
    allows_overflow: bool = False,
) -> Answer:
    """Fuse one image's boxes by weighted boxes fusion; see `fusion.steps.wbf.Wbf` for the method.

    With conf_type "avg" and unequal weights a score can exceed 1 although `allows_overflow` is False, here as in the
    public package: each box of a model counts with the model's weight, and two boxes of a model of weight 2 beside one
    of weight 1 make 4/3. "box_and_model_avg" counts each model's weight once, and never exceeds the largest score.

    Args:
        boxes_list: Per model [n, 4], x1, y1, x2, y2; lists or arrays.
        scores_list: Per model [n].
        labels_list: Per model [n].
        weights: Per model; None for 1 each.
        iou_thr: A box joins a cluster whose box it overlaps by more than this.
        skip_box_thr: Boxes with a lower score, before weights, are left out.
        conf_type: "avg", "max", "box_and_model_avg" or "absent_model_aware_avg".
        allows_overflow: With "avg", count all boxes of a cluster rather than at most as many as there are models.

    Returns:
        Boxes float64 [k, 4], scores float64 [k] and labels [k] (float64 for numbers), best score first.

    Raises:
        InputError: If the models' lists do not fit together, or an argument or a number is out of range.
    """
    one_of("conf_type", conf_type, CONFIDENCES)
    image = _read(boxes_list, scores_list, labels_list)
    factors = _weights(weights, len(image.sizes))
    options = Options(
        kind=WBF,
        iou=_threshold(iou_thr),
        weights=factors,
        sources=False,
        skip=image.skip(skip_box_thr),
        unsorted=weights is not None,
        confidence=CONFIDENCES.index(conf_type),
        overflow=bool(allows_overflow),
        total=float(factors.sum()),
        largest=float(factors.max(initial=0.0)),
    )
    return _fuse(image, options)


def non_maximum_weighted(
    boxes_list: Sequence[Any],
    scores_list: Sequence[Any],
    labels_list: Sequence[Any],
    weights: Sequence[float] | None = None,
    iou_thr: float = 0.55,
    skip_box_thr: float = 0.0,
) -> Answer:
    """Fuse one image's boxes by non-maximum weighted; see `fusion.steps.nmw.Nmw` for the method.

    Args:
        boxes_list: Per model [n, 4], x1, y1, x2, y2; lists or arrays.
        scores_list: Per model [n].
        labels_list: Per model [n].
        weights: Per model; None for 1 each.
        iou_thr: A box joins a cluster whose first box it overlaps by more than this.
        skip_box_thr: Boxes with a lower score, before weights, are left out.

    Returns:
        Boxes float32 [k, 4], scores float32 [k] and labels [k], best score first. Numeric labels are
        float32 as in the public package, float64 where float32 would change one; empty answers float64.

    Raises:
        InputError: If the models' lists do not fit together, or an argument or a number is out of range.
    """
    image = _read(boxes_list, scores_list, labels_list)
    factors = _weights(weights, len(image.sizes))
    options = Options(
        kind=NMW,
        iou=_threshold(iou_thr),
        weights=factors / factors.max(initial=1.0 if weights is None else 0.0),
        sources=False,
        skip=image.skip(skip_box_thr),
        unsorted=weights is not None,
    )
    boxes, scores, labels = _fuse(image, options)
    if len(scores) == 0:
        return boxes, scores, labels
    if image.names is None:
        narrow = labels.astype(np.float32)
        labels = narrow if np.array_equal(narrow, labels) else labels
    return boxes.astype(np.float32), scores.astype(np.float32), labels


def nms_method(
    boxes: Sequence[Any],
    scores: Sequence[Any],
    labels: Sequence[Any],
    method: int = 3,
    iou_thr: float = 0.5,
    sigma: float = 0.5,
    thresh: float = 0.001,
    weights: Sequence[float] | None = None,
) -> Answer:
    """Suppress one image's boxes, label by label, hard or soft.

    Args:
        boxes: Per model [n, 4], x1, y1, x2, y2; lists or arrays.
        scores: Per model [n].
        labels: Per model [n].
        method: 1 linear soft-NMS, 2 gaussian soft-NMS, 3 hard NMS.
        iou_thr: Threshold of hard NMS and of linear soft-NMS.
        sigma: Of gaussian soft-NMS.
        thresh: Soft-NMS keeps boxes whose decayed score is above this.
        weights: Per model; its scores are multiplied by its share of the sum of the weights.

    Returns:
        Boxes [k, 4], scores [k] and labels [k] in the dtypes given; labels ascending, within a label
        best score first. Soft-NMS returns decayed scores.

    Raises:
        InputError: If the models' lists do not fit together, or an argument or a number is out of range.
    """
    if method not in (_LINEAR, _GAUSSIAN, _HARD):
        raise InputError(
            f"option {option('method')}",
            f"expected 1 (linear soft-NMS), 2 (gaussian soft-NMS) or 3 (hard NMS), got {method!r}",
        )
    threshold = _threshold(iou_thr)
    image = _read(boxes, scores, labels)
    if weights is not None:
        factors = _weights(weights, len(image.sizes))
        image = image._replace(scores=image.scores * np.repeat(factors, image.sizes) / factors.sum())
    fault, columns, _ = arrange(*image.numbers())
    _refuse(image, fault)
    pool = cast(Pool, _Cells(columns))
    if method == _HARD:
        kept = Nms(iou=threshold).fuse(pool)
        return _upright(image.boxes[kept.row]), image.scores[kept.row], image.labels[kept.row]
    at_least("thresh", thresh, 0.0)
    kept = SoftNms(
        method="gaussian" if method == _GAUSSIAN else "linear",
        sigma=sigma,
        iou=threshold,
        floor=math.nextafter(thresh, math.inf),  # a score equal to `floor` stays there, one equal to `thresh` goes here
    ).fuse(pool)
    decayed = kept.score.astype(image.scores.dtype) if image.scores.dtype.kind == "f" else kept.score
    return _upright(image.boxes[kept.row]), decayed, image.labels[kept.row]


def nms(
    boxes: Sequence[Any],
    scores: Sequence[Any],
    labels: Sequence[Any],
    iou_thr: float = 0.5,
    weights: Sequence[float] | None = None,
) -> Answer:
    """Suppress one image's boxes by hard NMS; see `nms_method`.

    Raises:
        InputError: If the models' lists do not fit together, or an argument or a number is out of range.
    """
    return nms_method(boxes, scores, labels, method=_HARD, iou_thr=iou_thr, weights=weights)


def soft_nms(
    boxes: Sequence[Any],
    scores: Sequence[Any],
    labels: Sequence[Any],
    method: int = 2,
    iou_thr: float = 0.5,
    sigma: float = 0.5,
    thresh: float = 0.001,
    weights: Sequence[float] | None = None,
) -> Answer:
    """Suppress one image's boxes by soft-NMS and return decayed scores; see `nms_method`.

    Raises:
        InputError: If the models' lists do not fit together, or an argument or a number is out of range.
    """
    return nms_method(
        boxes, scores, labels, method=method, iou_thr=iou_thr, sigma=sigma, thresh=thresh, weights=weights
    )


class _Cells(NamedTuple):
    """What a step that does not count members needs of a pool."""

    columns: Columns


class _Image(NamedTuple):
    """One image's boxes of all models, one behind the other.

    Attributes:
        boxes: [n, 4] in the dtype given.
        scores: [n] in the dtype given.
        labels: [n] in the dtype given; object where the kinds are mixed.
        codes: float64 [n], labels as numbers.
        names: Label of each code, or None where the codes are the labels.
        sizes: int64 [models], boxes of each.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    codes: np.ndarray
    names: np.ndarray | None
    sizes: np.ndarray

    def numbers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return boxes, scores, codes and sizes as kernels take them."""
        boxes, scores = (np.ascontiguousarray(part, dtype=np.float64) for part in (self.boxes, self.scores))
        return boxes, scores, self.codes, self.sizes

    def skip(self, threshold: float) -> float:
        """Return the score below which boxes are left out, in the precision of the scores."""
        if not isinstance(threshold, (int, float)) or math.isnan(threshold):
            raise InputError(f"option {option('skip_box_thr')}", f"expected a number, got {threshold!r}")
        return float(self.scores.dtype.type(threshold)) if self.scores.dtype.kind == "f" else float(threshold)


def _fuse(image: _Image, options: Options) -> Answer:
    fault, corners, scores, codes = fuse_image(*image.numbers(), options)
    _refuse(image, fault)
    if image.names is None or len(scores) == 0:
        return corners, scores, codes
    return corners, scores, image.names[codes.astype(np.intp)]


def _read(boxes: Sequence[Any], scores: Sequence[Any], labels: Sequence[Any]) -> _Image:
    models = [len(own) for own in scores]
    try:
        # 8 us where the general way takes 23: arrays, or lists, without empty ones, and numbers as labels
        box, score, label = np.concatenate(boxes), np.concatenate(scores), np.concatenate(labels)
        plain = [len(own) for own in boxes] == models == [len(own) for own in labels]
    except (TypeError, ValueError):
        plain = False
    n = sum(models)
    if not plain or (box.shape, score.shape, label.shape) != ((n, 4), (n,), (n,)) or label.dtype.kind not in "biuf":
        box, score, label = _read_any(boxes, scores, labels)
    if box.dtype.kind not in "biuf" or score.dtype.kind not in "biuf":
        raise InputError("boxes and scores", f"expected numbers, got {box.dtype} and {score.dtype}")
    return _Image(box, score, label, *_codes(label), np.array(models, np.int64))


def _read_any(
    boxes: Sequence[Any], scores: Sequence[Any], labels: Sequence[Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join the models' boxes [n, 4], scores [n] and labels [n] of any kind; models may be empty."""
    if not len(boxes) == len(scores) == len(labels):
        raise InputError(
            "boxes, scores and labels",
            f"expected one entry per model in each, got {len(boxes)}, {len(scores)} and {len(labels)}",
        )
    parts = []
    for model, (own_boxes, own_scores, own_labels) in enumerate(zip(boxes, scores, labels, strict=True)):
        box, score, label = _array(own_boxes, model), _array(own_scores, model), _label_array(own_labels)
        n = len(own_scores)
        if (box.shape != (n, 4) and not box.size == n == 0) or score.shape != (n,) or label.shape != (n,):
            raise InputError(
                f"model {model} (counted from 0)",
                f"expected boxes [n, 4], scores [n] and labels [n], got {box.shape}, {score.shape} and {label.shape}",
            )
        if n > 0:
            parts.append((box, score, label))
    if not parts:
        return np.zeros((0, 4)), np.zeros(0), np.zeros(0)
    box, score = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    own = [part[2] for part in parts]
    alike = len({label.dtype.kind in "biuf" for label in own}) == 1  # NumPy joins numbers and strings as strings
    return box, score, np.concatenate(own if alike else [label.astype(object) for label in own])


def _label_array(labels: Any) -> np.ndarray:
    """Return labels as numbers or strings where they are all of one kind, else as objects."""
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "biufU":
        return labels
    entries = list(labels)
    for kind in (int, float, np.integer, np.floating), str:
        if all(isinstance(entry, kind) for entry in entries):
            return np.array(entries)
    values = np.empty(len(entries), dtype=object)
    values[:] = entries
    return values


def _upright(boxes: np.ndarray) -> np.ndarray:
    """Put swapped corners right."""
    return np.hstack((np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])))


def _array(values: Any, model: int) -> np.ndarray:
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"model {model} (counted from 0)", f"expected rows of equal length ({error})") from error


def _codes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return labels as float64 numbers, and what each number stands for unless it is the label itself."""
    kind = labels.dtype.kind
    if kind in "bf" or (kind in "iu" and (labels.dtype.itemsize < 8 or np.abs(labels).max(initial=0) < 2**53)):
        return labels.astype(np.float64), None
    if kind != "O":
        names, codes = np.unique(labels, return_inverse=True)
        return codes.astype(np.float64), names
    seen: dict[Any, int] = {}
    codes = np.array([seen.setdefault(label, len(seen)) for label in labels.tolist()], np.float64)
    names = np.empty(len(seen), dtype=object)
    names[:] = list(seen)
    return codes, names


def _threshold(iou: float) -> float:
    within("iou_thr", iou, 0.0, 1.0)
    return float(iou)


def _weights(weights: Sequence[float] | None, models: int) -> np.ndarray:
    if weights is None:
        return np.ones(models)
    factors = np.array(weights, dtype=np.float64)
    if factors.shape != (models,):
        raise InputError(f"option {option('weights')}", f"expected one for each of {models} models, got {weights!r}")
    if not (np.isfinite(factors) & (factors >= 0)).all() or (models and not factors.any()):
        raise InputError(
            f"option {option('weights')}", f"expected finite numbers of at least 0, not all 0, got {weights!r}"
        )
    return factors


def _refuse(image: _Image, fault: int) -> None:
    """Raise for the first row with a number that is not finite, if there is one."""
    if fault < 0:
        return
    ends = np.cumsum(image.sizes)
    model = int(np.searchsorted(ends, fault, side="right"))
    row = fault - int(ends[model] - image.sizes[model])
    raise InputError(
        f"model {model}, box {row} (counted from 0)",
        f"expected finite numbers, got box {image.boxes[fault].tolist()}, score {image.scores[fault]} "
        f"and label {image.labels[fault]}",
        "Leave such boxes out",
    )

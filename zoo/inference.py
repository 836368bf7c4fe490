"""A trained model at work: images of a data set in, rows of a detection table out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset

from fusion.errors import InputError
from fusion.masks import mask_array
from fusion.processes import end_with_parent
from fusion.table import DetectionTable, Metadata
from zoo.at_test import set_at_test
from zoo.checkpoint import Which, load_weights
from zoo.config import read_model
from zoo.data import Batch, Data, Guarded, Sample, View, ViewSet, gathered
from zoo.data.masks import flip_mask
from zoo.feed import delivered, worker_context
from zoo.finder import Finder
from zoo.models import Network, build
from zoo.nn.detections import Detections
from zoo.runs import Identity, read_json
from zoo.views import mirrored

__all__ = ["Inference", "load_model"]


def load_model(
    folder: Path,
    device: torch.device | str = "cpu",
    settings: Mapping[str, Any] | None = None,
    which: Which | None = None,
) -> tuple[Network, Identity]:
    """Load the model of a training folder, ready to predict.

    Args:
        folder: Of the training.
        device: Where it is to run.
        settings: Fields of `infer` that are to be others than the training's.
        which: Averaged weights, or those of the last step; None takes the averaged where there are such.

    Raises:
        InputError: If there is no checkpoint, or it is not of this model.
    """
    identity = set_at_test(read_json(folder / "config.json", Identity), settings or {})
    weights = load_weights(folder, which)
    device, config = torch.device(device), read_model(identity.model)
    if config.backbone.norm == "syncbn":  # differs in training only, and there is none on a CPU
        config = replace(config, backbone=replace(config.backbone, norm="bn"))
    model = build(config, len(identity.category_ids), device=device.type, pretrained=False)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(folder, f"its weights are not of its model ({str(error).splitlines()[-1].strip()})") from error
    return model.to(device).eval(), identity


@dataclass(frozen=True)
class _Seen:
    """What one view of an image gave: n rows."""

    image: int
    view: str
    boxes: np.ndarray  # float32 [n, 4], xyxy in the image as it is on disk
    scores: np.ndarray  # float32 [n]
    labels: np.ndarray  # int64 [n]
    mask_sizes: list[tuple[int, int]]  # heights and widths; none of a model without masks
    mask_texts: list[bytes]
    rows: np.ndarray  # int64, rows of the given table; none without one


class _Looks(Dataset[Sample]):
    """Images in several views, indexed by view and image."""

    def __init__(self, data: Data, views: Sequence[View], own_size: bool) -> None:
        sizes = [(None, None) if own_size else (view.short, view.long) for view in views]
        self._sets = [ViewSet(data, *size, view.flip) for size, view in zip(sizes, views, strict=True)]

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        return self._sets[key[0]][key[1]]


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How images are shown to a model, and what becomes of its answers.

    Attributes:
        model: The model.
        data: The images.
        views: Sizes and flips; each is seen on its own.
        given: Boxes that are to get masks or to be moved, or None to find boxes.
        scores: "mask" multiplies scores by the predicted IoU of the masks.
        batch: Images that go through the model together.
        workers: Processes that load images.
    """

    model: Finder
    data: Data
    views: tuple[View, ...]
    given: DetectionTable | None = None
    scores: Literal["box", "mask"] = "box"
    batch: int = 1
    workers: int = 0

    def tables(
        self, pieces: Sequence[np.ndarray], metadata: Metadata, seen: Callable[[], None]
    ) -> Iterator[DetectionTable]:
        """Yield the detections on each of several groups of images, one group in memory at a time.

        Args:
            pieces: int64 [n] of the images of each group.
            metadata: For the tables.
            seen: Called for each view of each image.
        """
        # one loader for all groups: its workers go on loading while the model is at work
        loader = delivered(
            DataLoader(
                Guarded(_Looks(self.data, self.views, self.model.resizes)),
                batch_sampler=[keys for piece in pieces for keys in self._batches(piece)],
                collate_fn=gathered,
                num_workers=self.workers,
                multiprocessing_context=worker_context(self.workers),
                worker_init_fn=end_with_parent,
            )
        )
        for piece in pieces:
            yield self._table(
                [one for keys in self._batches(piece) for one in self._look(keys, loader, seen)], metadata
            )

    def _batches(self, piece: np.ndarray) -> list[list[tuple[int, int]]]:
        """Views and images that go through the model together."""
        return [
            [(view, index) for index in piece[start : start + self.batch].tolist()]
            for view in range(len(self.views))
            for start in range(0, len(piece), self.batch)
        ]

    def _table(self, found: list[_Seen], metadata: Metadata) -> DetectionTable:
        count = [len(one.boxes) for one in found]
        mask = None
        if self.model.has_masks:
            sizes = [size for one in found for size in one.mask_sizes]
            texts = [text for one in found for text in one.mask_texts]
            mask = mask_array([height for height, _ in sizes], [width for _, width in sizes], texts)
        view_names = np.repeat(np.array([one.view for one in found], dtype=object), count)
        scores = np.concatenate([np.zeros(0, np.float32), *(one.scores for one in found)])
        boxes = np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes for one in found)])
        if self.given is not None:
            rows = np.concatenate([np.zeros(0, np.int64), *(one.rows for one in found)])
            return self._improved(self.given, rows, mask, view_names, scores, boxes, metadata)
        ids = self._image_ids
        labels = np.concatenate([np.zeros(0, np.int64), *(one.labels for one in found)])
        return DetectionTable.from_arrays(
            image_id=np.repeat(ids[np.array([one.image for one in found], dtype=np.int64)], count),
            category_id=np.array(self.model.category_ids, dtype=np.int32)[labels - 1],
            score=scores,
            xywh=_as_xywh(boxes),
            mask=mask,
            view=view_names,
            metadata=metadata,
            where="predictions",
        )

    @property
    def _image_ids(self) -> np.ndarray:
        ids = self.data.image_ids
        return np.array(ids, dtype=object if isinstance(ids[0], str) else np.int64)

    def _look(self, keys: list[tuple[int, int]], loader: Iterator[Batch], seen: Callable[[], None]) -> Iterator[_Seen]:
        """Show images to the model, and bring the answers back to the images as they are on disk."""
        device = self.model.device
        images, targets, _, failed = next(loader)
        if failed is not None:
            raise InputError(failed.where, failed.problem, f"{failed.remedy}; the same call goes on with what is done")
        view = self.views[keys[0][0]]
        rows = [self._rows(target.image_id) for target in targets]
        asked = None
        if self.given is not None:
            widths = [target.original_size[1] for target in targets]
            asked = [self._ask(row, w, view.flip).to(device) for row, w in zip(rows, widths, strict=True)]
        answers = self.model.find([image.to(device) for image in images], [t.to(device) for t in targets], view, asked)
        for (_, index), row, target, answer in zip(keys, rows, targets, answers, strict=True):
            yield self._seen(answer, index, view, target.original_size[1], row)
            seen()

    def _rows(self, image_id: int | str) -> np.ndarray:
        """Rows of the given table in an image."""
        return np.zeros(0, np.int64) if self.given is None else self.given.rows_of(image_id)

    def _ask(self, rows: np.ndarray, width: int, flip: bool) -> Detections:
        """Make given rows what the model takes, in the view's sense of left and right."""
        given = self.given
        assert given is not None
        xywh = np.stack([given.column(name)[rows] for name in "xywh"], axis=1).astype(np.float32)
        boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        label_of = {category: label for label, category in enumerate(self.model.category_ids, 1)}
        labels = np.array([label_of[category] for category in given.category_id[rows].tolist()], np.int64)
        return Detections(
            boxes=torch.from_numpy(mirrored(boxes, width) if flip else boxes),
            scores=torch.from_numpy(given.score[rows].astype(np.float32)),
            labels=torch.from_numpy(labels),
        )

    def _seen(self, answer: Detections, index: int, view: View, width: int, rows: np.ndarray) -> _Seen:
        boxes, masks = answer.boxes.float().cpu().numpy(), answer.masks or []
        if view.flip:
            boxes = mirrored(boxes, width)
            masks = [flip_mask(mask, width) for mask in masks]
        scores = answer.mask_scores if self.scores == "mask" and answer.mask_scores is not None else answer.scores
        return _Seen(
            image=index,
            view=view.name,
            boxes=boxes.astype(np.float32, copy=False),
            scores=scores.float().cpu().numpy(),
            labels=answer.labels.cpu().numpy(),
            mask_sizes=[(mask["size"][0], mask["size"][1]) for mask in masks],
            mask_texts=[bytes(mask["counts"]) for mask in masks],
            rows=rows,
        )

    def _improved(
        self,
        given: DetectionTable,
        rows: np.ndarray,
        mask: pa.StructArray | None,
        views: np.ndarray,
        scores: np.ndarray,
        boxes: np.ndarray,
        metadata: Metadata,
    ) -> DetectionTable:
        """The given rows, every other column to the last bit, with the masks found or the boxes moved."""
        arrow = given.arrow.take(pa.array(rows, pa.int64()))
        # the mask or box is this model's, whoever found the row: two segmenters of one table have a vote each
        gone = {"soft_mask", "member"} | ({"x2", "y2", "mask"} if self.model.moves_boxes else set())
        columns = {name: arrow[name] for name in arrow.column_names if name not in gone}
        if mask is not None:
            columns["mask"] = mask
        if self.model.moves_boxes:
            for name, values in zip("xywh", _as_xywh(boxes).T, strict=True):
                columns[name] = pa.array(values).cast(columns[name].type)
        if self.scores == "mask":
            columns["score"] = pa.array(scores)
        if len(self.views) > 1:
            columns["view"] = pa.array(views, pa.string()).dictionary_encode()
        return DetectionTable.from_arrow(pa.table(columns), metadata, "predictions")


def _as_xywh(boxes: np.ndarray) -> np.ndarray:
    """Return xyxy boxes [n, 4] as left, top, width and height."""
    return np.concatenate([boxes[:, :2], np.maximum(boxes[:, 2:] - boxes[:, :2], 0)], axis=1)

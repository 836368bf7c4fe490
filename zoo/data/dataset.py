"""Data sets: annotations and pictures, read image by image into records."""

import hashlib
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any, Protocol

import msgspec
import numpy as np
import torch
from torch import Tensor

from evaluation.ground_truth import GroundTruth, Labels
from evaluation.known_categories import of_categories
from fusion.errors import InputError
from fusion.table import DetectionTable
from zoo.data.masks import decode_mask
from zoo.data.pictures import Pictures
from zoo.data.record import Target

__all__ = ["AnnotatedImages", "Data", "objects_of"]


class Data(Protocol):
    """What trainings and predictions ask of a data set. Images are counted in the order of `image_ids`."""

    name: str
    split: str

    def __len__(self) -> int:
        """Return the number of images."""

    @property
    def parts(self) -> "Sequence[Data]":
        """The data sets that it is joined of, in order; itself where it is one."""

    @property
    def truth(self) -> GroundTruth:
        """The annotations."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the annotations."""

    @property
    def category_ids(self) -> np.ndarray:
        """int64 [k], ascending; label l stands for the l-th of them."""

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the k categories."""

    @property
    def image_ids(self) -> list[int | str]:
        """Id of each image."""

    @property
    def sizes(self) -> np.ndarray:
        """int32 [images, 2], heights and widths."""

    @property
    def image_categories(self) -> Labels:
        """Categories that have an object in each image (CSR), crowds not counted.

        From k on they are some that are background here; samplers alone know them.
        """

    @property
    def has_masks(self) -> bool:
        """Whether objects have masks."""

    @property
    def has_stuff(self) -> bool:
        """Whether images have stuff maps."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how annotations and pictures are read."""

    def load(self, index: int) -> tuple[Tensor, Target]:
        """Return uint8 [3, height, width] and the annotations of an image as they are on disk."""


class AnnotatedImages:
    """One ground truth and its pictures.

    Crowds, group-of boxes, annotations marked to be ignored and objects without area become ignore boxes.
    Images with labels only are to be ignored as a whole.
    Masks stay as they are in the file; one of another size than the image, as Open Images has them, is resized.

    Args:
        truth: The annotations.
        pictures: Their images, in the truth's order.
        name: Of the data set; targets carry it as their source.
        split: Of the data set, such as "train".
        loss_weight: Factor on the loss of each of its images.
        labels_only: Nobody has drawn boxes in any of its images, or in these, bool [images]; otherwise this holds for
            those that have no annotation although a category was verified as present.
        missing: Objects that the annotations lack, such as pseudo labels of the same images; they become ignore boxes.
        found: What detectors have found in these images, of whatever categories; it becomes proposals.
        against: Categories, from k on, that are background here and in each image count for samplers alone.

    Raises:
        InputError: If what is missing has other categories, or an image that is not annotated.
    """

    def __init__(
        self,
        truth: GroundTruth,
        pictures: Pictures,
        *,
        name: str,
        split: str = "",
        loss_weight: float = 1.0,
        labels_only: bool | np.ndarray = False,
        missing: GroundTruth | None = None,
        found: DetectionTable | None = None,
        against: Labels | None = None,
    ) -> None:
        self.truth, self.pictures, self.name, self.split = truth, pictures, name, split
        self._weight, self._missing, self._none_drawn = loss_weight, missing, labels_only
        self._found, self._against = found, against
        if missing is not None:
            _check_missing(missing, truth)
        if found is not None and not set(found.image_ids.tolist()) & set(truth.image_id.tolist()):
            raise InputError(
                f"data {name}", "nothing was found in any of its images", "Give the table of a prediction on them"
            )

    def only(self, category_ids: Collection[int], against: Collection[int] = ()) -> "AnnotatedImages":
        """Return it with some of its categories; objects of the others are background.

        Args:
            category_ids: What is known.
            against: Others by which images are sampled all the same, so that what is confused is seen.

        Raises:
            InputError: If none is given, or one is unknown.
        """
        start, category = self.image_categories
        seen = np.isin(self.category_ids[category], list(against)) & ~np.isin(
            self.category_ids[category], list(category_ids)
        )
        before = np.concatenate(([0], np.cumsum(seen)))
        return AnnotatedImages(
            of_categories(self.truth, category_ids),
            self.pictures,
            name=self.name,
            split=self.split,
            loss_weight=self._weight,
            labels_only=self._labels_only,
            missing=None if self._missing is None else of_categories(self._missing, category_ids),
            found=self._found,
            against=Labels(before[start], category[seen] + np.int32(len(set(category_ids)))),
        )

    def __len__(self) -> int:
        return len(self.truth.image_id)

    @property
    def parts(self) -> Sequence[Data]:
        """Itself."""
        return [self]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the annotations, of what is missing in them, and of what was found."""
        parts = [self.truth.fingerprint] + ([] if self._missing is None else [self._missing.fingerprint])
        if self._found is not None:
            numbers = [self._found.image_ids.tolist(), self._found.image_start.tolist()]
            boxes = np.stack([self._found.column(name).astype(np.float64) for name in "xywh"])
            parts.append(hashlib.sha256(msgspec.json.encode(numbers) + boxes.tobytes()).hexdigest())
        return parts[0] if len(parts) == 1 else hashlib.sha256(" ".join(parts).encode()).hexdigest()

    @property
    def category_ids(self) -> np.ndarray:
        """int64 [k], ascending."""
        return self.truth.category_id.astype(np.int64)

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the k categories."""
        return self.truth.category_name

    @property
    def image_ids(self) -> list[int | str]:
        """Id of each image."""
        ids: list[int | str] = self.truth.image_id.tolist()
        return ids

    @property
    def has_masks(self) -> bool:
        """Whether objects have masks."""
        return self.truth.segmentation is not None

    @property
    def has_stuff(self) -> bool:
        """Whether images have stuff maps."""
        return self.pictures.has_stuff

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how annotations and pictures are read."""
        weak = int(self._labels_only.sum())
        said = (f"{weak} of {len(self)} images have labels only; weak supervision alone learns from them",)
        return (*self.truth.notes, *self.pictures.notes, *(said if weak else ()))

    @cached_property
    def sizes(self) -> np.ndarray:
        """int32 [images, 2]; images whose size the annotations do not tell are looked up in their files."""
        sizes = np.stack([self.truth.height, self.truth.width], axis=1)
        for index in np.flatnonzero((sizes == 0).any(axis=1)).tolist():
            sizes[index] = self.pictures.size(index)
        return sizes

    @cached_property
    def image_categories(self) -> Labels:
        """Categories that have an object in each image (CSR), crowds not counted; where labels are all, these."""
        rows = np.flatnonzero(~self._unusable)
        image, category = self.truth.image[rows].astype(np.int64), self.truth.category[rows]
        if self.truth.positive is not None:
            start, present = self.truth.positive
            holder = np.repeat(np.arange(len(self)), np.diff(start))
            weak = self._labels_only[holder]
            image, category = np.concatenate((image, holder[weak])), np.concatenate((category, present[weak]))
        if self._against is not None:
            image = np.concatenate((image, np.repeat(np.arange(len(self)), np.diff(self._against.start))))
            category = np.concatenate((category, self._against.category))
        categories = int(category.max(initial=0)) + 1
        image, category = np.divmod(np.unique(image * categories + category), categories)
        return Labels(np.searchsorted(image, np.arange(len(self) + 1)).astype(np.int64), category.astype(np.int32))

    def load(self, index: int) -> tuple[Tensor, Target]:
        """Return uint8 [3, height, width] and the annotations of an image.

        Raises:
            InputError: If the picture cannot be read or is not of the annotated size.
        """
        pixels = self.pictures.pixels(index)
        size = pixels.shape[0], pixels.shape[1]
        told = int(self.truth.height[index]), int(self.truth.width[index])
        # the masks of Open Images, from which its sizes come, are not of the size of the images
        if self.truth.unit == "pixel" and 0 not in told and told != size:
            raise InputError(
                f"image {self.truth.image_id[index]} of {self.truth.source}",
                f"is annotated as {told[0]} x {told[1]} pixels (height x width), its picture has {size[0]} x {size[1]}",
                "Use the pictures that were annotated"
                + (", or leave out exif=, which decides about orientation marks" if told == size[::-1] else ""),
            )
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), self._target(index, size)

    def _target(self, index: int, size: tuple[int, int]) -> Target:
        truth = self.truth
        rows = truth.rows_of(index)
        unusable = self._unusable[rows]
        labels = torch.from_numpy(truth.category[rows].astype(np.int64) + 1)
        boxes = torch.from_numpy(self._boxes(truth.xywh[rows], size))
        good, bad = torch.from_numpy(~unusable), torch.from_numpy(unusable)
        stuff = self.pictures.stuff(index)
        if stuff is not None and stuff.shape != size:
            raise InputError(
                f"image {truth.image_id[index]} of {truth.source}",
                f"is {size[0]} x {size[1]} pixels (height x width), its stuff map {stuff.shape[0]} x {stuff.shape[1]}",
                "Use the stuff maps of these pictures",
            )
        more, more_labels = self._missing_in(index, size)
        weak = bool(self._labels_only[index])
        if weak:
            more, more_labels = torch.tensor([[0.0, 0.0, size[1], size[0]]]), None
        positive, negative = self._listed(truth.positive, index), self._listed(truth.negative, index)
        return Target.empty(
            truth.image_id[index : index + 1].tolist()[0],
            size,
            boxes=boxes[good],
            labels=labels[good],
            masks=[self._mask(row, size) for row in rows[~unusable].tolist()] if self.has_masks else None,
            ignore_boxes=torch.cat([boxes[bad], more]),
            ignore_labels=None if more_labels is None else torch.cat([labels[bad], more_labels]),
            image_labels=self._hot(positive) if truth.positive is not None else None,
            verified=self._hot(torch.cat((positive, negative))) if truth.positive is not None else None,
            neg_classes=negative,
            not_exhaustive=self._listed(truth.not_exhaustive, index),
            loss_weight=self._weight,
            proposals=self._proposals(index, size),
            stuff=None if stuff is None else torch.from_numpy(stuff),
            source=self.name,
            labels_only=weak,
        )

    @cached_property
    def _unusable(self) -> np.ndarray:
        return ~objects_of(self.truth)

    @cached_property
    def _labels_only(self) -> np.ndarray:
        """Images in which nobody has drawn boxes, bool [images]."""
        weak = np.full(len(self), self._none_drawn)
        if self.truth.positive is not None:
            drawn = np.bincount(self.truth.image, minlength=len(self))
            weak |= (drawn == 0) & (np.diff(self.truth.positive.start) > 0)
        return weak

    @cached_property
    def _missing_places(self) -> dict[int | str, int]:
        """Place of each image in what is missing, by its id."""
        ids = [] if self._missing is None else self._missing.image_id.tolist()
        return {image: place for place, image in enumerate(ids)}

    def _missing_in(self, index: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return boxes, float32 [n, 4], and labels, int64 [n], of what the annotations of an image lack."""
        place = self._missing_places.get(self.truth.image_id[index : index + 1].tolist()[0])
        if place is None or self._missing is None:
            return torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
        rows = self._missing.rows_of(place)
        boxes = torch.from_numpy(self._boxes(self._missing.xywh[rows], size))
        return boxes, torch.from_numpy(self._missing.category[rows].astype(np.int64) + 1)

    def _proposals(self, index: int, size: tuple[int, int]) -> Tensor:
        """Return what was found in an image, float32 [p, 4]."""
        rows = np.zeros(0, np.int64) if self._found is None else self._found.rows_of(self.image_ids[index])
        if self._found is None or not len(rows):
            return torch.zeros(0, 4)
        xywh = np.stack([self._found.column(name)[rows] for name in "xywh"], axis=1).astype(np.float64)
        corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        if self._found.metadata.unit == "normalized":
            corners *= (size[1], size[0], size[1], size[0])
        return torch.from_numpy(corners).float()

    def _boxes(self, xywh: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        x, y, w, h = xywh.T
        if self.truth.unit == "normalized":
            x, y, w, h = x * size[1], y * size[0], w * size[1], h * size[0]
        corners = np.stack([x, y, x + w, y + h], axis=1)
        limit = np.array((size[1], size[0], size[1], size[0]), np.float64)
        return np.asarray(np.clip(corners, 0, limit), np.float32)

    def _mask(self, row: int, size: tuple[int, int]) -> Any:
        try:
            return None if self.truth.segmentation is None else decode_mask(self.truth.segmentation[row], size)
        except (IndexError, KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
            raise InputError(
                f"{self.truth.source}, annotation {self.truth.annotation_id[row]}",
                f"its segmentation cannot be read ({error})",
                "Mend or drop it",
            ) from error

    def _listed(self, labels: Labels | None, index: int) -> Tensor:
        if labels is None:
            return torch.zeros(0, dtype=torch.int64)
        listed = labels.category[labels.start[index] : labels.start[index + 1]]
        return torch.from_numpy(listed.astype(np.int64) + 1)

    def _hot(self, labels: Tensor) -> Tensor:
        hot = torch.zeros(len(self.category_ids), dtype=torch.bool)
        hot[labels - 1] = True
        return hot


def objects_of(truth: GroundTruth) -> np.ndarray:
    """Return which annotations are objects, and not ignore boxes: bool [a]."""
    bad = truth.crowd | (truth.area <= 0) | (truth.xywh[:, 2:] <= 0).any(axis=1)
    return np.asarray(~(bad if truth.ignore is None else bad | truth.ignore))


def _check_missing(missing: GroundTruth, truth: GroundTruth) -> None:
    if missing.category_id.tolist() != truth.category_id.tolist():
        problem = f"its {len(missing.category_id)} categories are not the {len(truth.category_id)} of {truth.source}"
        raise InputError(missing.source, problem, "Make it by quorum zoo pseudo-label with -g of these annotations")
    unknown = sorted(set(missing.image_id.tolist()) - set(truth.image_id.tolist()))
    if unknown:
        raise InputError(missing.source, f"has image {unknown[0]}, which {truth.source} has not", "Give its own images")

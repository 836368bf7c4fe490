"""A model of another framework as a prediction takes it: its categories are found among those of the data by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fusion.coco_results.category_join import CategoryJoin
from fusion.coco_results.raw import RecordKey
from fusion.coco_results.reading import Reading
from fusion.coco_results.vocabulary import OwnLists, Vocabulary, examples
from fusion.errors import InputError, option
from zoo.data import Data, Target, View
from zoo.members.base import ForeignModel, InPicture, Label, Wanted
from zoo.nn.detections import Detections
from zoo.store import hash_of

__all__ = ["Joined", "Joining"]

_NOTHING = ("n/a", "__background__", "background")  # what frameworks call numbers that no object has


@dataclass(frozen=True, kw_only=True)
class Joining:
    """How the categories of a model are found among those of the data.

    Attributes:
        label_map: Its category, by number or name, to the data's, by id or name.
        drop: Whether what it finds of categories that the data do not have is dropped; otherwise it is an error.
    """

    label_map: Mapping[Any, int | str] | None = None
    drop: bool = False


class Joined:
    """A model of another framework at work; what its attributes mean is said in `zoo.finder.Finder`.

    Args:
        model: The model.
        member: Name of the member.
        source: FRAMEWORK:MODEL.
        wanted: What was asked of it.
        joining: How its categories are found.
        data: What it looks at.
        device: Where it computes.

    Raises:
        InputError: If a category is not found.
    """

    scores_masks = False
    boxes_given: Literal["always", "never", "maybe"] = "never"
    moves_boxes = False
    resizes = True
    views = (View(None, None),)

    def __init__(
        self,
        model: ForeignModel,
        member: str,
        source: str,
        wanted: Wanted,
        joining: Joining,
        data: Data,
        device: torch.device,
    ) -> None:
        self._model, self._source, self._joining = model, source, joining
        self._vocabulary = Vocabulary(
            image_ids=np.zeros(0, np.int64),
            category_ids=data.category_ids.astype(np.int32),
            category_names=tuple(data.category_names),
            where=data.name,
        )
        self.name, self.device, self.has_masks = member, device, model.has_masks
        self.category_ids = tuple(int(number) for number in data.category_ids)
        self.about = {
            "model": source,
            "settings": {key: repr(value) for key, value in wanted.settings.items()},
            "checkpoint": [hash_of(path) for path in model.files],
            "label_map": repr(joining.label_map),
            "unknown_categories": "drop" if joining.drop else "error",
        }
        self._known: dict[int | str, int] = {}  # 1, 2, ... of the data; 0 where it is dropped
        self._said = () if model.labels is None else tuple(self._join(model.labels))

    def notes(self, data: Data, views: Sequence[View], finds: bool) -> Sequence[str]:
        """Return what became of its categories."""
        return self._said

    def find(
        self, images: list[Tensor], targets: list[Target], view: View, given: list[Detections] | None
    ) -> list[Detections]:
        """Return what is in each image."""
        size = None if view.short is None or view.long is None else (view.short, view.long)
        with torch.inference_mode():
            return [self._renamed(found) for found in self._model.find(images, size)]

    def _renamed(self, found: InPicture) -> Detections:
        if new := [label for label in dict.fromkeys(found.labels) if label not in self._known]:
            self._join(tuple(Label(None, label) if isinstance(label, str) else Label(label, None) for label in new))
        labels = torch.tensor([self._known[label] for label in found.labels], dtype=torch.int64)
        scores = found.scores.cpu()
        best = torch.argsort(scores, descending=True, stable=True)
        kept = best[labels[best] > 0]
        masks = None if found.masks is None else [found.masks[row] for row in kept.tolist()]
        return Detections(found.boxes.cpu()[kept], scores[kept], labels[kept], masks)

    def _join(self, labels: tuple[Label, ...]) -> list[str]:
        """Find categories and remember them; return what was noticed.

        Raises:
            InputError: If one is not there, unless such are dropped; or none is.
        """
        real = [one for one in labels if str(one.name).casefold() not in _NOTHING]
        numbers, said = self._numbers(real)
        target = "the label map" if self._joining.label_map is not None else self._vocabulary.where
        unknown = [_shown(one) for one, number in zip(real, numbers, strict=True) if number is None]
        whole = self._model.labels is not None  # else there may be others in other pictures
        if unknown and not (self._joining.drop and (len(unknown) < len(real) or not whole)):
            expected = self._joining.label_map or self._vocabulary.category_names
            raise InputError(
                self._source,
                f"{len(unknown)} of its {len(real)} categories are not in {target}: {examples(unknown)}; expected such"
                f" as {examples(expected)}",
                f"Say which is which with {option('label_map')}, or drop what it finds of others with "
                f"{option('unknown_categories', 'drop')}",
            )
        if unknown:
            said.append(f"dropped: what it finds of {len(unknown)} categories not in {target}: {examples(unknown)}")
        found = {number for number in numbers if number is not None}
        lacking = [
            name
            for name, number in zip(self._vocabulary.category_names, self.category_ids, strict=True)
            if number not in found
        ]
        if whole and lacking:
            said.append(f"it does not know {len(lacking)} categories of {self._vocabulary.where}: {examples(lacking)}")
        place = {number: label for label, number in enumerate(self.category_ids, 1)}
        for one, number in [*((one, None) for one in labels), *zip(real, numbers, strict=True)]:
            for key in (one.number, one.name if one.number is None else None):
                if key is not None:
                    self._known[key] = 0 if number is None else place[number]
        return said

    def _numbers(self, labels: list[Label]) -> tuple[list[int | None], list[str]]:
        """Return the data's id of each category, None for those that are not there; and what was noticed."""
        where, ids, label_map = self._source, set(self.category_ids), self._joining.label_map
        named = all(one.name is not None for one in labels)
        if label_map is None and not named and self._model.labels and {one.number for one in labels} != ids:
            first = _shown(labels[0])
            raise InputError(
                where,
                f"has no names for its {len(labels)} categories, {first} to {_shown(labels[-1])}, and these are not the"
                f" ids of {self._vocabulary.where}",
                f"Name them, such as {option('label_map')} {first}={self._vocabulary.category_names[0]},...",
            )
        reading = Reading(categories="name" if named else "id") if label_map is None else Reading(label_map=label_map)
        join = CategoryJoin(where, self._vocabulary, reading, True, OwnLists({}, {}, {}))
        numbers, errors = join.numbers([RecordKey(*one) for one in labels], np.zeros(len(labels), np.int64))
        for error in errors:
            raise error
        return numbers, join.notes


def _shown(label: Label) -> str:
    return str(label.number if label.name is None else label.name)

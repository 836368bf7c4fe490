"""A model of the zoo at work, as it lies in the folder of its training."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from torch import Tensor

from zoo.at_test import limit_notes, size_notes, with_categories_of, with_mapped_categories
from zoo.checkpoint import Which, weights_file
from zoo.config import AnyModel, Model, read_model
from zoo.crop_network import CropNetwork
from zoo.data import Data, Target, View
from zoo.inference import load_model
from zoo.members.joined import Joining
from zoo.models import Network
from zoo.nn.detections import Detections
from zoo.runs import Identity
from zoo.store import hash_of
from zoo.views import views_of

__all__ = ["TrainedFinder"]


@dataclass(frozen=True, kw_only=True)
class TrainedFinder:
    """A model of the zoo; what its members mean is said in `zoo.finder.Finder`.

    Attributes:
        network: The model.
        identity: Which it is, and what its labels stand for.
        name: Of the member.
        about: What its tables say of it.
        moved: What was noticed of its categories.
        kept: Labels of the network that are kept, where its categories are found in other data; None for all.
    """

    network: Network
    identity: Identity
    name: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    moved: tuple[str, ...] = ()
    kept: tuple[int, ...] | None = None

    @classmethod
    def load(
        cls,
        folder: Path,
        data: Data,
        device: torch.device | str,
        settings: Mapping[str, Any] | None = None,
        which: Which | None = None,
        joining: Joining | None = None,
    ) -> "TrainedFinder":
        """Load the model of a training folder for a data set.

        Args:
            folder: Of the training.
            data: What it is to look at.
            device: Where it is to run.
            settings: Fields of `infer` that are to be others than the training's.
            which: Averaged weights, or those of the last step; None takes the averaged where there are such.
            joining: How its categories are found among others; None where the data have them.

        Raises:
            InputError: If there is no checkpoint, or it is not of this model, or of other categories than the data.
        """
        network, identity = load_model(folder, device, settings, which)
        name = folder.resolve().name
        moved: tuple[str, ...] = ()
        kept: tuple[int, ...] | None = None
        if network.boxes_given == "always":  # whatever the categories are
            ids, names = tuple(int(i) for i in data.category_ids), tuple(data.category_names)
            identity = msgspec.structs.replace(identity, category_ids=ids, category_names=names)
        elif joining is None:
            identity, moved = with_categories_of(identity, data, folder)
        else:
            identity, kept, moved = with_mapped_categories(identity, data, joining, folder)
        if isinstance(network, CropNetwork) and network.config.infer.flip and not name.endswith("-flip"):
            name += "-flip"  # it votes beside the same without
        about: dict[str, Any] = {
            "variant": identity.variant,
            "checkpoint": hash_of(weights_file(folder, which)),
            "config": hashlib.sha256(msgspec.json.encode(identity.model)).hexdigest()[:16],
        }
        if kept is not None:
            about |= {"categories": dict(zip(map(str, kept), identity.category_ids, strict=True))}
        return cls(network=network, identity=identity, name=name, about=about, moved=moved, kept=kept)

    def notes(self, data: Data, views: Sequence[View], finds: bool) -> Sequence[str]:
        """What a user should know of what it is shown."""
        limits = limit_notes(self.config, data) if finds else []
        return *self.moved, *size_notes(self.config, views, data.sizes), *limits

    @property
    def config(self) -> AnyModel:
        """Settings of the model."""
        return read_model(self.identity.model)

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Ids of the labels 1, 2, ..."""
        return self.identity.category_ids

    @property
    def has_masks(self) -> bool:
        """Whether what it finds has masks."""
        return self.config.makes_masks

    @property
    def scores_masks(self) -> bool:
        """Whether it predicts the IoU of its masks."""
        config = self.config
        return isinstance(config, Model) and config.mask is not None and config.mask.iou is not None

    @property
    def boxes_given(self) -> Literal["always", "never", "maybe"]:
        """Whether boxes are given to it."""
        return self.network.boxes_given

    @property
    def moves_boxes(self) -> bool:
        """Whether given boxes come back elsewhere."""
        return self.network.moves_boxes

    @property
    def resizes(self) -> bool:
        """Whether it brings pictures to the size of a view itself."""
        return self.network.resizes

    @property
    def views(self) -> tuple[View, ...]:
        """Those of its configuration."""
        return views_of(self.config)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    def find(
        self, images: list[Tensor], targets: list[Target], view: View, given: list[Detections] | None
    ) -> list[Detections]:
        """Return what is in each image."""
        if self.kept is not None and given is not None:
            given = [replace(own, labels=own.labels.new_tensor(self.kept)[own.labels - 1]) for own in given]
        half = self.device.type == "cuda" and self.config.train.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, half):
            found: list[Detections]
            if isinstance(self.network, CropNetwork):
                found = self.network(images, targets, given, view)
            else:
                found = self.network(images, targets, given)
        return found if self.kept is None else [_renumbered(own, self.kept) for own in found]


def _renumbered(found: Detections, kept: tuple[int, ...]) -> Detections:
    """Return detections of some labels alone, 1 for the first of them."""
    place = torch.zeros(max((*kept, *found.labels.tolist())) + 1, dtype=torch.int64, device=found.labels.device)
    place[list(kept)] = torch.arange(1, len(kept) + 1, device=place.device)
    rows = place[found.labels].nonzero().squeeze(1)
    return Detections(
        found.boxes[rows],
        found.scores[rows],
        place[found.labels[rows]],
        None if found.masks is None else [found.masks[row] for row in rows.tolist()],
        None if found.mask_scores is None else found.mask_scores[rows],
    )

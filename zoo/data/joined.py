"""Several data sets as one."""

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from torch import Tensor

from evaluation.ground_truth import GroundTruth, Labels
from fusion.errors import InputError
from zoo.data.dataset import Data
from zoo.data.record import Target

__all__ = ["JoinedData"]


class JoinedData:
    """Several data sets of the same categories, one after the other; a target's source tells where it is from.

    Args:
        parts: The data sets.

    Raises:
        InputError: If their categories differ, or two have one name.
    """

    def __init__(self, parts: Sequence[Data]) -> None:
        self.parts: Sequence[Data] = list(parts)
        first = self.parts[0]
        for part in self.parts[1:]:
            if part.category_ids.tolist() != first.category_ids.tolist() or part.category_names != first.category_names:
                raise InputError(
                    f"data {part.name}",
                    f"its {len(part.category_ids)} categories are not the {len(first.category_ids)} of {first.name}",
                    "Joined data sets need the same category ids and names",
                )
        names = [part.name for part in self.parts]
        if len(set(names)) < len(names):
            raise InputError("data", f"two of the data sets {', '.join(names)} have one name", "Add name=... to one")
        self.name, self.split = "+".join(names), "+".join(dict.fromkeys(part.split for part in parts if part.split))
        self._start = np.concatenate(([0], np.cumsum([len(part) for part in self.parts])))

    def __len__(self) -> int:
        return int(self._start[-1])

    @property
    def truth(self) -> GroundTruth:
        """Not there: each part has its own.

        Raises:
            InputError: Always.
        """
        raise InputError(f"data {self.name}", "several data sets have no common ground truth", "Name one of them")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the parts' fingerprints."""
        return hashlib.sha256(" ".join(part.fingerprint for part in self.parts).encode()).hexdigest()

    @property
    def category_ids(self) -> np.ndarray:
        """int64 [k], ascending."""
        return self.parts[0].category_ids

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the k categories."""
        return self.parts[0].category_names

    @property
    def image_ids(self) -> list[int | str]:
        """Id of each image; two parts may use the same."""
        return [image for part in self.parts for image in part.image_ids]

    @property
    def sizes(self) -> np.ndarray:
        """int32 [images, 2]."""
        return np.concatenate([part.sizes for part in self.parts])

    @cached_property
    def image_categories(self) -> Labels:
        """Categories that have an object in each image (CSR)."""
        every = [part.image_categories for part in self.parts]
        count = np.concatenate([np.diff(labels.start) for labels in every])
        return Labels(
            np.concatenate(([0], np.cumsum(count))).astype(np.int64), np.concatenate([one.category for one in every])
        )

    @property
    def has_masks(self) -> bool:
        """Whether objects of all parts have masks."""
        return all(part.has_masks for part in self.parts)

    @property
    def has_stuff(self) -> bool:
        """Whether images of all parts have stuff maps."""
        return all(part.has_stuff for part in self.parts)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how annotations and pictures are read."""
        return tuple(f"{part.name}: {note}" for part in self.parts for note in part.notes)

    def load(self, index: int) -> tuple[Tensor, Target]:
        """Return uint8 [3, height, width] and the annotations of an image."""
        part = int(np.searchsorted(self._start, index, side="right")) - 1
        return self.parts[part].load(index - int(self._start[part]))

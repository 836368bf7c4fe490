"""Ground truth from formats that name images by their files and categories by their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from evaluation.ground_truth import GroundTruth
from fusion.errors import InputError

__all__ = ["NamedObjects", "numbered"]


@dataclass
class NamedObjects:
    """Objects on the way to a ground truth.

    Attributes:
        source: The file or folder, for messages.
        file_name: By image id, the name of its file.
        size: By image id, (width, height); (0, 0) where unknown.
        image: Image id of each object.
        category: Its category, by name.
        box: Its corners x1, y1, x2, y2.
        polygons: Its polygons, as COCO has them; None where it has none.
        difficult: Whether it is marked as difficult.
        notes: What was unusual.
    """

    source: Path
    file_name: dict[str, str] = field(default_factory=dict)
    size: dict[str, tuple[int, int]] = field(default_factory=dict)
    image: list[str] = field(default_factory=list)
    category: list[str] = field(default_factory=list)
    box: list[tuple[float, float, float, float]] = field(default_factory=list)
    polygons: list[list[list[float]] | None] = field(default_factory=list)
    difficult: list[bool] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_image(self, name: str, size: tuple[int, int]) -> str:
        """Take an image by the name of its file; its id is the name without suffix.

        Raises:
            InputError: If another image has the same id.
        """
        number = str(PurePosixPath(name).with_suffix(""))
        if number in self.size:
            problem = f"two images are called {number!r}, {self.file_name[number]!r} and {name!r}"
            raise InputError(self.source, problem, "Give them different names")
        self.file_name[number], self.size[number] = name, size
        return number

    def add(
        self,
        image: str,
        category: str,
        box: tuple[float, float, float, float],
        *,
        polygons: list[list[float]] | None = None,
        difficult: bool = False,
    ) -> None:
        """Take an object."""
        self.image.append(image)
        self.category.append(category)
        self.box.append(box)
        self.polygons.append(polygons)
        self.difficult.append(difficult)

    def truth(self, categories: Mapping[str, int] | None = None) -> GroundTruth:
        """Return the ground truth.

        Args:
            categories: Name -> id; sorted names, numbered from 1, where it is not given.
        """
        numbers = categories if categories is not None else numbered(self.category)
        notes = list(self.notes)
        if any(self.difficult):
            notes.append(
                f"{sum(self.difficult)} objects are marked as difficult; they count, as for COCO's evaluation (Pascal"
                " VOC's own leaves them out)"
            )
        unknown = sum(not all(size) for size in self.size.values())
        if unknown:
            notes.append(f"the sizes of {unknown} of {len(self.size)} images are not known")
        width, height = zip(*self.size.values(), strict=True) if self.size else ((), ())
        masks: Sequence[Any] | None = [one or [] for one in self.polygons] if any(self.polygons) else None
        return GroundTruth.from_arrays(
            image_id=np.array(list(self.size), object),
            width=width,
            height=height,
            file_name=list(self.file_name.values()),
            category_id=list(numbers.values()),
            category_name=list(numbers),
            annotation_image_id=np.array(self.image, object),
            annotation_category_id=[numbers[name] for name in self.category],
            xyxy=np.array(self.box, np.float64).reshape(-1, 4),
            segmentation=masks,
            notes=notes,
            source=self.source,
        )


def numbered(names: Sequence[str]) -> dict[str, int]:
    """Number names from 1, sorted."""
    return {name: number for number, name in enumerate(sorted(set(names)), 1)}

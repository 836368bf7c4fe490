"""Pseudo labels: what a trained member finds, as annotations that others learn from or ignore."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.pairs import iou_of_corners
from fusion.arrow_arrays import arrow_array
from fusion.atomic import replacing
from fusion.checks import within
from fusion.errors import InputError, option
from fusion.printed_table import PrintedTable
from fusion.table import DetectionTable

__all__ = ["PseudoLabels", "pseudo_labels"]

_GROUPS = {"r": "rare", "c": "common", "f": "frequent"}


@dataclass(frozen=True)
class PseudoLabels:
    """Detections that are taken for annotations.

    Attributes:
        table: The detections that were kept.
        images: Of which data set they are.
        categories: Whose categories they have.
    """

    table: DetectionTable
    images: GroundTruth
    categories: GroundTruth

    def counts(self) -> PrintedTable:
        """Return, for each frequency group where there are such, and for all: categories, labels and images."""
        words, table = self.categories, self.table
        names = np.array(words.frequency if words.frequency is not None else [""] * len(words.category_id))
        own = names[np.searchsorted(words.category_id, table.category_id)]
        printed = PrintedTable.of(("group", "categories with labels", "of", "labels", "images"), ())
        for group in [*(g for g in _GROUPS if g in names), None]:
            mine = own == group if group is not None else np.ones(len(table), bool)
            printed.rows.append(
                [
                    "all" if group is None else _GROUPS[group],
                    len(np.unique(table.category_id[mine])),
                    int((names == group).sum()) if group is not None else len(names),
                    int(mine.sum()),
                    len(np.unique(table.image_id[mine])),
                ]
            )
        return printed

    def by_category(self) -> PrintedTable:
        """Return labels and images of each category that has some, those with the fewest last."""
        words, table = self.categories, self.table
        labels, images = Counter(table.category_id.tolist()), self._images_of_categories()
        printed = PrintedTable.of(("category", "name", "group", "labels", "images"), ())
        for category, count in labels.most_common():
            k = int(np.searchsorted(words.category_id, category))
            group = "" if words.frequency is None else words.frequency[k]
            printed.rows.append([category, words.category_name[k], group, count, images[category]])
        return printed

    def write(self, path: Path) -> None:
        """Write them as a COCO file: images with labels, categories with their counts, boxes with scores and masks.

        Raises:
            InputError: If it cannot be written.
        """
        words = self.categories
        labels, images = Counter(self.table.category_id.tolist()), self._images_of_categories()
        categories: list[dict[str, Any]] = []
        for k, category in enumerate(words.category_id.tolist()):
            own = {"id": category, "name": words.category_name[k]}
            if words.frequency is not None:
                own["frequency"] = words.frequency[k]
            categories.append(own | {"instance_count": labels[category], "image_count": images[category]})
        document = {
            "info": {"description": "Pseudo labels"},
            "images": list(self._images()),
            "annotations": list(self._annotations()),
            "categories": categories,
        }
        with replacing(path) as temporary:
            temporary.write_bytes(msgspec.json.encode(document))

    def _images_of_categories(self) -> Counter[int]:
        pairs = set(zip(self.table.category_id.tolist(), self.table.image_id.tolist(), strict=True))
        return Counter(category for category, _ in pairs)

    def _images(self) -> Iterator[dict[str, Any]]:
        known = self.images
        place = {image: index for index, image in enumerate(known.image_id.tolist())}
        for image in self.table.image_ids.tolist():
            index = place[image]
            size = {"width": int(known.width[index]), "height": int(known.height[index])}
            yield {"id": image, **size, "file_name": str(known.file_name[index])}

    def _annotations(self) -> Iterator[dict[str, Any]]:
        table = self.table
        masks = [None] * len(table) if table.mask is None else table.mask.to_pylist()
        rows = zip(
            *(column.tolist() for column in (table.image_id, table.category_id, table.xywh, table.score)),
            masks,
            strict=True,
        )
        for number, (image, category, box, score, mask) in enumerate(rows, 1):
            own = {"id": number, "image_id": image, "category_id": category, "bbox": box, "score": score, "iscrowd": 0}
            area = box[2] * box[3]
            if mask is not None:
                from pycocotools import mask as rle

                size = [mask["height"], mask["width"]]
                area = float(rle.area({"size": size, "counts": mask["counts"]}))
                own["segmentation"] = {"size": size, "counts": mask["counts"].decode()}
            yield own | {"area": area}


def pseudo_labels(
    table: DetectionTable,
    categories: GroundTruth,
    images: GroundTruth | None = None,
    *,
    score: float = 0.8,
    iou: float = 0.3,
    rare: bool = False,
) -> PseudoLabels:
    """Choose the detections that are taken for annotations.

    Args:
        table: What a member has found.
        categories: Annotations whose categories, and frequency groups, these are.
        images: The images, where they are others than those of `categories`; its annotations are not looked at.
        score: The least score (alibaba-lvis2020, sec. 4.1: 0.8).
        iou: On the images of `categories`, boxes that overlap one of its objects this much are left out: what remains
            is not annotated (lvistraveler-lvis2020, sec. 2.1 "do not have overlap"; 0.3 is ours).
        rare: Only images with a label of a rare category (alibaba-lvis2020, sec. 4.1).

    Raises:
        InputError: If an option is out of its range, an image or category of the table is unknown, or groups are asked
            for that there are not.
    """
    within("score", score, 0, 1)
    within("iou", iou, 0, 1)
    known = categories if images is None else images
    for what, ids, own in (("image", known.image_id, table.image_ids), ("category", categories.category_id, None)):
        unknown = np.setdiff1d(np.unique(table.category_id) if own is None else own, ids)
        if len(unknown):
            where = known.source if what == "image" else categories.source
            remedy = (
                "Give its images with --images" if what == "image" and images is None else "Give what it was found in"
            )
            raise InputError(where, f"has no {what} {unknown[0]} of the table", remedy)
    kept = table.score >= score
    if images is None:
        kept &= ~_overlapping(table, categories, iou)
    if rare:
        if categories.frequency is None:
            raise InputError(
                categories.source, "has no frequency of categories", "Give annotations in the form of LVIS"
            )
        is_rare = np.array(categories.frequency) == "r"
        found = table.image_id[kept & is_rare[np.searchsorted(categories.category_id, table.category_id)]]
        kept &= np.isin(table.image_id, np.unique(found))
    if not kept.any():
        rest = "no detection is left" if rare or images is None else f"no detection has a score of {score:g}"
        raise InputError(
            "pseudo labels", rest, f"Lower {option('score')}; the highest is {table.score.max(initial=0):g}"
        )
    return PseudoLabels(replace(table, arrow=table.arrow.filter(arrow_array(kept)).combine_chunks()), known, categories)


def _overlapping(table: DetectionTable, truth: GroundTruth, iou: float) -> np.ndarray:
    """Return which detections overlap an object of their image, of whichever category, bool [n]."""
    corners, far = truth.corners, np.stack([table.far("x"), table.far("y")], axis=1)
    boxes = np.concatenate([table.xywh[:, :2], far], axis=1)
    place = np.searchsorted(truth.image_id, table.image_ids)
    result = np.zeros(len(table), bool)
    for index, first, end in zip(
        place.tolist(), table.image_start[:-1].tolist(), table.image_start[1:].tolist(), strict=True
    ):
        own = corners[truth.rows_of(index)]
        if len(own):
            result[first:end] = (iou_of_corners(boxes[first:end, None], own) >= iou).any(1)
    return result

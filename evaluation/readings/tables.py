"""Whether a table agrees with a ground truth at all: what is said of figures that can hardly be meant."""

import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.readings.agreement import Objects, meeting
from evaluation.readings.candidates import LOW
from evaluation.readings.sample import expected_objects, most_confident, of_annotated, some_rows
from evaluation.truth_columns import places_of
from fusion.errors import Warned
from fusion.table import DetectionTable

__all__ = ["FEW", "RIGHT", "check_table"]

FEW = 20
RIGHT = 0.1


def check_table(table: DetectionTable, truth: GroundTruth, remedy: str = "") -> list[str]:
    """Say so if hardly any confident box of a table meets an object, or hardly any one of its own category.

    Args:
        table: Detections.
        truth: What they are measured on; only boxes on its images are looked at.
        remedy: What to do where boxes, images or categories may mean something else.

    Returns:
        At most one note.
    """
    if table.metadata.unit != truth.unit or truth.crowd.all():
        return []
    rows = some_rows(len(table))
    image = np.searchsorted(table.image_start, rows, side="right") - 1
    place = places_of(truth.image_id, table.image_ids)[image] if len(rows) else rows
    rows, place = rows[place >= 0], place[place >= 0]
    if not len(rows):
        return [Warned("it has no detections on these images")]
    objects = expected_objects(truth, len(np.unique(place)))
    chosen = most_confident(table.category_id[rows], table.score[rows], objects)
    rows, place = rows[chosen], place[chosen]
    category = table.category_id[rows]
    keep = of_annotated(category, truth)
    rows, place, category = rows[keep], place[keep], category[keep]
    if len(rows) < FEW:
        return []
    x, y, w, h = (table.column(name)[rows].astype(np.float64) for name in "xywh")
    found = meeting(np.stack([x, y, x + w, y + h], axis=1), category, Objects(truth).pairs(place))
    met, right = int(found.meets.sum()), int(found.right.sum())
    if met < LOW / 2 * len(rows):
        return [
            Warned(
                f"only {met:,} of {len(rows):,} confident boxes meet an object of any category (IoU 0.5): a poor"
                f" detector, or boxes or image ids that mean something else{remedy}"
            )
        ]
    if right < RIGHT * met:
        return [
            Warned(
                f"of {met:,} confident boxes that meet an object only {right:,} are of its category: a poor classifier,"
                f" or category ids that mean something else{remedy}"
            )
        ]
    return []

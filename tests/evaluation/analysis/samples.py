"""Random data sets in the forms that analyses and their oracles take."""

import numpy as np

from evaluation import Coco, prepare
from fusion.table import DetectionTable, Metadata
from tests.evaluation.cases import arrays, ground_truth, random_case
from tests.oracles.coco import box_iou, mask_iou


def case(seed, *, masks=False, lowest=None, **options):
    """Return (dataset, results, prepared ground truth, table, IoU); more of the boxes carry a wrong category."""
    dataset, results = random_case(seed, masks=masks, **options)
    rng = np.random.default_rng(seed)
    kinds = [category["id"] for category in dataset["categories"]]
    for row in results:
        if rng.random() < 0.2:
            row["category_id"] = int(rng.choice(kinds))
        row["area"] = row["bbox"][2] * row["bbox"][3]
        if lowest is not None:
            row["score"] = max(row["score"], lowest)
    prepared = prepare(ground_truth(dataset), Coco(iou_type="segm" if masks else "bbox"))
    return dataset, results, prepared, table_of(results), mask_iou if masks else box_iou


def table_of(results, member="m"):
    return DetectionTable.from_arrays(**arrays(results), metadata=Metadata(member=member))

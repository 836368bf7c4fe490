"""The official COCO evaluation of boxes and masks."""

from collections.abc import Sequence

from evaluation.ground_truth import GroundTruth
from evaluation.prepared import Prepared, prepare
from evaluation.protocol import Coco
from evaluation.result import CocoResult
from fusion.table import DetectionTable

__all__ = ["evaluate"]


def evaluate(
    table: DetectionTable,
    ground_truth: GroundTruth | Prepared,
    *,
    iou_type: str = "bbox",
    max_dets: Sequence[int] = (1, 10, 100),
    use_cats: bool = True,
    iou_thresholds: Sequence[float] | None = None,
    match_id_zero: bool = False,
) -> CocoResult:
    """Evaluate a table by the COCO protocol; every number equals pycocotools'.

    Two differences, both listed in the result's notes where they apply: stats with other `max_dets`
    than (1, 10, 100) use the largest one where pycocotools gives -1, and any number of them is fine.

    Args:
        table: Detections.
        ground_truth: Ground truth of the images; one made by `prepare` brings its own options, and
            saves the preparation.
        iou_type: "bbox" or "segm".
        max_dets: Detections of a cell that count.
        use_cats: False pools all categories into one.
        iou_thresholds: Ascending, in (0, 1].
        match_id_zero: Count matches with annotation id 0, which pycocotools loses.

    Returns:
        The result.

    Raises:
        InputError: If table and ground truth do not belong together, or an option is out of range.
    """
    if not isinstance(ground_truth, Prepared):
        protocol = Coco(
            iou_type=iou_type,
            max_dets=tuple(max_dets),
            use_cats=use_cats,
            iou_thresholds=None if iou_thresholds is None else tuple(iou_thresholds),
            match_id_zero=match_id_zero,
        )
        ground_truth = prepare(ground_truth, protocol)
    return ground_truth.evaluate(table)

"""Ground truth, and the official metrics of detections against it."""

from evaluation.coco import evaluate
from evaluation.coco_json import read_coco
from evaluation.ground_truth import GroundTruth
from evaluation.prepared import Prepared, prepare
from evaluation.protocol import Coco, Lvis
from evaluation.result import CategoryResult, CocoResult

__all__ = [
    "CategoryResult",
    "Coco",
    "CocoResult",
    "GroundTruth",
    "Lvis",
    "Prepared",
    "evaluate",
    "prepare",
    "read_coco",
]

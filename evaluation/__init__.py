"""Ground truth, and the official metrics of detections against it."""

from evaluation.attached import Attached
from evaluation.coco_json import read_coco
from evaluation.ground_truth import GroundTruth
from evaluation.measured import CategoryResult
from evaluation.open_images import PreparedOpenImages
from evaluation.open_images_csv import read_open_images
from evaluation.open_images_result import OpenImagesResult
from evaluation.prepared import Prepared, evaluate, prepare
from evaluation.protocol import Coco, Lvis, OpenImages
from evaluation.result import CocoResult

__all__ = [
    "Attached",
    "CategoryResult",
    "Coco",
    "CocoResult",
    "GroundTruth",
    "Lvis",
    "OpenImages",
    "OpenImagesResult",
    "Prepared",
    "PreparedOpenImages",
    "evaluate",
    "prepare",
    "read_coco",
    "read_open_images",
]

"""COCO results files: JSON in, JSON out."""

from fusion.coco_json.reader import RawResults, gather_coco_results, read_coco_results
from fusion.coco_json.reading import AS_FOUND, Reading
from fusion.coco_json.vocabulary import Vocabulary
from fusion.coco_json.writer import write_coco_results

__all__ = [
    "AS_FOUND",
    "RawResults",
    "Reading",
    "Vocabulary",
    "gather_coco_results",
    "read_coco_results",
    "write_coco_results",
]

"""COCO results files: JSON in, JSON out."""

from fusion.coco_json.reader import read_coco_results
from fusion.coco_json.vocabulary import Vocabulary
from fusion.coco_json.writer import write_coco_results

__all__ = ["Vocabulary", "read_coco_results", "write_coco_results"]

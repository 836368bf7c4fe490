"""COCO results files: JSON in, JSON out."""

from fusion.coco_reader import read_coco_results
from fusion.coco_writer import write_coco_results

__all__ = ["read_coco_results", "write_coco_results"]

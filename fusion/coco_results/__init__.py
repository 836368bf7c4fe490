"""COCO results files: JSON in, JSON out."""

from fusion.lazily import attach

__getattr__, __dir__ = attach(__name__)

"""Ground truth, and the official metrics of detections against it."""

from fusion.lazily import attach

__getattr__, __dir__ = attach(__name__)

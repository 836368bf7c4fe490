"""Open Images' CSV files of boxes, image labels, masks and class descriptions, as ground truth."""

from fusion.lazily import attach

__getattr__, __dir__ = attach(__name__)

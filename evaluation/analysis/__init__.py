"""Why the figures are as they are: errors, curves, calibration, confusion, and what each member brings."""

from fusion.lazily import attach

__getattr__, __dir__ = attach(__name__)

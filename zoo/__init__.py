"""Members: the detectors whose tables are fused, and the data sets they are measured on."""

from fusion.lazily import attach

__getattr__, __dir__ = attach(__name__)

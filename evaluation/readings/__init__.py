"""Whether results mean what they seem to mean: files in `check`, tables in `tables`."""

from fusion.lazily import attach

__getattr__, __dir__ = attach(__name__)

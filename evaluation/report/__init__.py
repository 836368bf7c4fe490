"""One HTML page of what was measured: sections, each a file of its own, of blocks that a template writes."""

from fusion.lazily import attach

__getattr__, __dir__ = attach(__name__)

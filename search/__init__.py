"""Trees, search spaces, proposers, studies and splits: the search for the best way to fuse."""

from fusion.lazily import attach

__getattr__, __dir__ = attach(__name__)

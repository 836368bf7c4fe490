"""Submissions to leaderboards: written from tables, checked, read back."""

from fusion.lazily import attach

__getattr__, __dir__ = attach(__name__)

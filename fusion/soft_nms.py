"""Soft suppression, alone or after hard suppression."""

from dataclasses import dataclass

from fusion.checks import at_least, one_of, within
from fusion.columns import Fused
from fusion.errors import InputError
from fusion.kernels.suppress import soft_nms_cells
from fusion.nms import suppress
from fusion.pool import Pool, Tables, apply
from fusion.table import DetectionTable

__all__ = ["AdjNms", "NmsThenSoft", "SoftNms", "adj_nms", "nms_then_soft", "soft_nms"]

METHODS = ("gaussian", "linear")

"""Metrics as the tables of reports print them."""

from evaluation.figures import by_default
from evaluation.protocol import Coco

__all__ = ["box", "mask"]

_NAMES = by_default(Coco(), "entries")


def box(*values: float) -> dict[str, float]:
    """Return box AP, AP50, AP75, APs, APm, APl in percent, as many as are given."""
    return {f"box {name}": value for name, value in zip(_NAMES, values, strict=False)}


def mask(*values: float) -> dict[str, float]:
    """Return mask AP, AP50, AP75, APs, APm, APl in percent, as many as are given."""
    return {f"mask {name}": value for name, value in zip(_NAMES, values, strict=False)}

"""Metrics as the tables of reports print them."""

from evaluation.figures import by_default
from evaluation.protocol import Coco

__all__ = ["box", "lvis", "mask"]

_NAMES = by_default(Coco(), "entries")


def box(*values: float) -> dict[str, float]:
    """Return box AP, AP50, AP75, APs, APm, APl in percent, as many as are given."""
    return {f"box {name}": value for name, value in zip(_NAMES, values, strict=False)}


def mask(*values: float) -> dict[str, float]:
    """Return mask AP, AP50, AP75, APs, APm, APl in percent, as many as are given."""
    return {f"mask {name}": value for name, value in zip(_NAMES, values, strict=False)}


def lvis(
    ap: float, rare: float, common: float, frequent: float, box: float | None = None, gap: float | None = None
) -> dict[str, float]:
    """Return mask AP of all, rare, common and frequent categories in percent, box AP, and how far it is above."""
    found = {"mask AP": ap, "mask APr": rare, "mask APc": common, "mask APf": frequent}
    return found | {name: own for name, own in (("box AP", box), ("box AP - mask AP", gap)) if own is not None}

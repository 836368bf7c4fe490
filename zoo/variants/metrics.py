"""Metrics as the tables of reports print them."""

__all__ = ["box", "mask"]

_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def box(*values: float) -> dict[str, float]:
    """Return box AP, AP50, AP75, APs, APm, APl in percent, as many as are given."""
    return {f"box {name}": value for name, value in zip(_NAMES, values, strict=False)}


def mask(*values: float) -> dict[str, float]:
    """Return mask AP, AP50, AP75, APs, APm, APl in percent, as many as are given."""
    return {f"mask {name}": value for name, value in zip(_NAMES, values, strict=False)}

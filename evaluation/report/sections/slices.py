"""Figures on named subsets of the images."""

from evaluation.on_slices import figures_table
from evaluation.report.blocks import Sortable
from evaluation.report.material import Material
from evaluation.report.page import Section

__all__ = ["section"]


def section(material: Material) -> Section | None:
    """Return a line for each slice and entry."""
    if material.slices is None or not material.results:
        return None
    return Section("Slices", [Sortable(figures_table(material.results, material.slices, material.figures))])

"""What was found about each entry, in words."""

from evaluation.report.blocks import Choice, PageBlock, Words
from evaluation.report.material import Material
from evaluation.report.page import Section

__all__ = ["section"]


def section(material: Material) -> Section | None:
    """Return the sentences of each analysis."""
    blocks: dict[str, PageBlock] = {name: Words(analysis.sentences()) for name, analysis in material.analyses.items()}
    return Section("Findings", [Choice("Entry", blocks)]) if blocks else None

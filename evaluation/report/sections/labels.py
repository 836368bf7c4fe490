"""Annotations that are likely wrong, by what several members agree on."""

from typing import TYPE_CHECKING

from evaluation.report.blocks import Sortable
from evaluation.report.material import Material
from evaluation.report.page import Section
from fusion.printed_table import PrintedColumn, PrintedTable

if TYPE_CHECKING:
    from evaluation.suspects import Suspects

__all__ = ["section"]

_ROWS = 300
_LEAST = 0.1


def section(material: Material) -> Section | None:
    """Return how many suspects there are of each kind, and the likeliest of them."""
    suspects = material.suspects
    if suspects is None:
        return None
    found = suspects.only(least=_LEAST)
    blocks = [Sortable(found.to_table())]
    if len(found):
        blocks.append(Sortable(_listed(found), bars=("score",)))
    lead = "To be checked by a person, the likeliest first; `quorum labels` writes them all as COCO or CSV. "
    lead += "Members say most that were not trained on these annotations."
    return Section("Likely label errors", blocks, lead)


def _listed(found: "Suspects") -> PrintedTable:
    forms = {"score": ".3f", **dict.fromkeys("xywh", ".1f")}
    heads = ("kind", "score", "image", "file", "annotation", "annotated as", "members say", *"xywh", "members")
    names = ("kind", "score", "image_id", "file_name", "annotation_id", "annotated", "category", *"xywh", "members")
    table = PrintedTable([PrintedColumn(head, forms.get(head, ""), right=head in forms) for head in heads])
    rows = found.to_frame().head(_ROWS)
    table.rows = [list(row) for row in zip(*(rows[name].tolist() for name in names), strict=True)]
    return table

"""What objects are taken for."""

import numpy as np

from evaluation.analysis.confusion import Confusion
from evaluation.report.blocks import Choice, Matrix, PageBlock, Sortable, table_of_frame
from evaluation.report.material import Material
from evaluation.report.page import Section

__all__ = ["section"]

_CELLS = 150
_CATEGORIES = 25  # of a matrix that can be read


def section(material: Material) -> Section | None:
    """Return the matrix of each entry, or where there are many categories its largest cells."""
    found = {name: analysis.confusion for name, analysis in material.analyses.items()}
    if not found:
        return None
    first = next(iter(found.values()))
    blocks: dict[str, PageBlock] = {}
    for name, one in found.items():
        if len(first.category_ids) <= _CATEGORIES:
            blocks[name] = _matrix(one, name)
        else:
            frame = one.to_frame()
            frame = frame[frame["object"] != frame["detection"]].head(_CELLS)
            blocks[name] = Sortable(table_of_frame(frame), f"The {len(frame)} largest cells, {name}")
    lead = f"At IoU {first.iou:g}, each entry at its score of highest F1; background stands for none."
    return Section("Confusion", [Choice("Entry", blocks) if len(blocks) > 1 else next(iter(blocks.values()))], lead)


def _matrix(one: Confusion, name: str) -> Matrix:
    names = [*one.category_names, "background"]
    values = one.matrix.astype(np.float64)
    values[-1, -1] = np.nan
    return Matrix(
        f"Objects (rows) by what they are taken for, {name}", names, names, values, ",.0f", "object, taken for"
    )

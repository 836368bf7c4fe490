"""AP and AR by the size and the shape of objects."""

from evaluation.report.blocks import Choice, PageBlock, Sortable
from evaluation.report.material import Material
from evaluation.report.page import Section
from fusion.printed_table import PrintedColumn, PrintedTable

__all__ = ["section"]

_BINS = {"coco": "COCO's areas", "side": "side", "share": "side, as a share", "aspect": "shape"}


def section(material: Material) -> Section | None:
    """Return a line for each size, a column for each entry."""
    frames = {name: analysis.sizes for name, analysis in material.analyses.items()}
    if not frames:
        return None
    first = next(iter(frames.values()))
    tables: dict[str, PageBlock] = {}
    for figure in ("AP", "AR"):
        heads = [PrintedColumn("by"), PrintedColumn("size"), PrintedColumn("objects", ",", right=True)]
        table = PrintedTable([*heads, *(PrintedColumn(name, ".4f", right=True) for name in frames)])
        values = [frame[figure].tolist() for frame in frames.values()]
        if all(frame[figure].isna().all() for frame in frames.values()):  # by Open Images there is no AP by size
            continue
        lead = zip(first["bins"], first["size"], first["objects"].tolist(), strict=True)
        for (bins, size, objects), *own in zip(lead, *values, strict=True):
            table.rows.append([_BINS[bins], size, objects, *own])
        tables[figure] = Sortable(table, bars=list(frames))
    return Section("Sizes and shapes", [Choice("Figure", tables)]) if tables else None

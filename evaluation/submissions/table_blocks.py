"""A piece of a table as the audit takes it."""

import numpy as np

from evaluation.submissions.audit import Block
from fusion.table import DetectionTable

__all__ = ["block_of"]


def block_of(table: DetectionTable, first_row: int) -> Block:
    """Return a piece of a table as the audit takes it.

    Args:
        table: The piece.
        first_row: Number of its first row in the whole table, for messages.
    """
    ids = table.image_id

    def place(row: int) -> str:
        return f"row {first_row + row} (image {ids[row]})"

    box = np.stack([table.column(name).astype(np.float64) for name in "xywh"], axis=1)
    score = table.score.astype(np.float64)
    category = table.category_id.astype(np.int64)
    number = np.arange(first_row, first_row + len(table))
    return Block(ids, category, score, box, table.mask, table.metadata.unit == "normalized", number, "row", place)

"""A leaderboard for each slice of the images."""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.leaderboard import Leaderboard, Split
from evaluation.slices import Slices
from fusion.printed_table import PrintedColumn, PrintedTable
from fusion.table import DetectionTable

__all__ = ["boards_of", "boards_table", "detections_on"]

_OF_FILES = ("detections", "MB")


def boards_of(
    slices: Slices, truth: GroundTruth, whole: Split, *, seed: int, groups: np.ndarray | None
) -> dict[str, Leaderboard]:
    """Return an empty board for each slice.

    Args:
        slices: Of the images of `truth`.
        truth: All images.
        whole: The split of the board of all images, measured in the same way.
        seed: Of the draws.
        groups: [images] labels of all images, see `bootstrap`.
    """
    boards = {}
    for name, images in slices.images.items():
        split = Split.of(
            truth.subset(truth.image_id[images]),
            protocol=whole.protocol,
            iou_type=whole.iou_type,
            replicates=whole.replicates,
            seed=seed,
            groups=None if groups is None else groups[images],
        )
        boards[name] = Leaderboard(split)
    return boards


def detections_on(table: DetectionTable, image_ids: np.ndarray) -> int:
    """Return the number of detections of a table on some images."""
    return int(np.diff(table.image_start)[np.isin(table.image_ids, image_ids)].sum())


def boards_table(boards: Mapping[str, Leaderboard], figures: Sequence[str] | None = None) -> PrintedTable:
    """Return a table to print: the lines of each slice's board.

    Args:
        boards: By name of the slice.
        figures: Names of those shown beside AP; all that are known by default.
    """
    tables = {name: board.to_table(figures) for name, board in boards.items()}
    first = next(iter(tables.values()))
    kept = [place for place, column in enumerate(first.columns) if column.head not in _OF_FILES]
    heads = [PrintedColumn("slice", kept=True), PrintedColumn("images", right=True)]
    joined = PrintedTable([*heads, *first.only(kept).columns], title="by slice")
    for name, table in tables.items():
        joined.bold.add(len(joined.rows))
        joined.rows += [[name, f"{boards[name].split.images:,}", *row] for row in table.only(kept).rows]
    return joined

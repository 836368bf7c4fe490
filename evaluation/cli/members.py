"""Members' tables at the command line."""

from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.hidden_tables import as_given
from fusion.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy as np

    from evaluation.ground_truth import GroundTruth
    from fusion.table import DetectionTable

__all__ = ["read_member", "short_names", "some_tables"]


def some_tables(tables: tuple[Path, ...], command: str) -> tuple[Path, ...]:
    """Return the tables named on the command line; none at all is an error."""
    if not tables:
        raise InputError(command, "no table was given", "Name one or several Parquet files or folders of parts")
    return tables


def short_names(paths: "Sequence[Path]") -> list[str]:
    """Name tables by their files, without folder and suffix where that tells them apart."""
    stems = [path.stem for path in paths]
    return [path.stem if stems.count(path.stem) == 1 else str(as_given(path)) for path in paths]


def read_member(
    path: Path,
    truth: "GroundTruth",
    images: "Path | np.ndarray | None",
    columns: "Collection[str] | None" = None,
) -> "DetectionTable":
    """Read a member's table under its name; one of another data set is refused, and one that agrees badly is noted.

    Args:
        path: A Parquet file or a folder of parts.
        truth: What it is to be measured on.
        images: Where the user chose images, nothing of others is read: those of `truth`, or these ids.
        columns: Which of the optional columns are wanted; all by default.
    """
    from evaluation.belonging import check_belongs
    from evaluation.readings import check_table
    from fusion.parts import named
    from fusion.storage import read_table
    from fusion.terminal import notes

    chosen = truth.image_id if isinstance(images, Path) else images
    table = named(read_table(path, images=chosen, columns=columns), path)
    notes(path, check_belongs(path, table.metadata, truth))
    notes(path, check_table(table, truth, "; `quorum import ... -g` looks for what is wrong"))
    return table

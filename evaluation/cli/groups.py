"""Groups of images that are held back together, as given or as file names suggest."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from evaluation.ground_truth import GroundTruth

__all__ = ["groups_of"]


def groups_of(truth: "GroundTruth", path: Path | None, command: str) -> "np.ndarray | None":
    """Return the group of each image, object [images]; None where nothing is known of groups.

    Args:
        truth: The images.
        path: The file; None to look at the file names, and to say what was taken from them.
        command: Named in that note.
    """
    from evaluation.cli.image_lists import read_groups
    from evaluation.folds import groups_in_names
    from fusion.terminal import notes

    if path is not None:
        return read_groups(path, truth)
    found = groups_in_names(truth)
    if found is None:
        return None
    labels, told = found
    notes(command, [f"took {told}; give --groups where these are not videos, scenes or days"])
    return labels

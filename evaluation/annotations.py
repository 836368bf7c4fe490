"""Ground truth of any format, as it is recognised."""

import os
from collections.abc import Mapping
from pathlib import Path

from evaluation.formats import recognised
from evaluation.ground_truth import GroundTruth
from fusion.errors import InputError, option

__all__ = ["read_ground_truth"]


def read_ground_truth(path: str | os.PathLike[str], files: Mapping[str, Path] | None = None) -> GroundTruth:
    """Read annotations: COCO, LVIS, Open Images, YOLO, Pascal VOC, CVAT, LabelMe or KITTI.

    Args:
        path: The file or folder, which may be compressed; "-" is standard input.
        files: What goes with a CSV file of Open Images boxes, by the parameters of `read_open_images`.

    Returns:
        The ground truth; what was unusual is in its notes.

    Raises:
        InputError: If it cannot be read; the file and the entry are named.
    """
    kind = recognised(path, "truth")
    if files and kind.name != "openimages":
        raise InputError(
            path,
            "image labels, class descriptions, a hierarchy and masks go with a CSV file of Open Images boxes",
            f"Leave them out, or give that CSV file as {option('ground_truth')}",
        )
    return kind.truth(Path(path), files or {})

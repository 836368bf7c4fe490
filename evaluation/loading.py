"""A member's detections from whatever file they are in."""

import os
from pathlib import Path
from typing import Any

from evaluation.cli.members import read_member
from evaluation.cli.truth import read_truth
from evaluation.ground_truth import GroundTruth
from fusion.errors import options_of
from fusion.table import DetectionTable

__all__ = ["load", "load_truth"]


def load(
    path: str | os.PathLike[str] | Any,
    ground_truth: GroundTruth | str | os.PathLike[str] | None = None,
    *,
    categories_of: GroundTruth | None = None,
) -> DetectionTable:
    """Read the detections of a member: a table, or a result file as `quorum import` reads it.

    Beside a ground truth names of categories and of images become ids, and boxes are compared with its objects: what
    another reading (xyxy boxes, other category ids, ...) would make agree far better is an error that says which. What
    is unusual is printed on standard error. Other readings are given to `evaluation.results.read_results`.

    Args:
        path: Results in any format that `quorum import` knows, or a table: a Parquet file, a folder of parts; or
            objects of other libraries, as `evaluation.read_objects` takes them.
        ground_truth: What it is read beside: ground truth, or its file; see `load_truth`. None accepts ids as they are.
        categories_of: Without ground truth of these images, that of others of the data set: its categories' names.

    Returns:
        The table, under the name of its file where it has no name of its own.

    Raises:
        InputError: If it cannot be read, is of another data set than the ground truth, or most probably does not mean
            what it seems to mean.
    """
    # here: reading a file of one kind loads nothing for the others
    from evaluation.belonging import origin_of
    from evaluation.results import read_results
    from fusion.parts import named
    from fusion.storage import read_table
    from fusion.table import Metadata
    from fusion.terminal import notes

    truth = None if ground_truth is None else load_truth(ground_truth)
    if not isinstance(path, (str, os.PathLike)):
        from evaluation.objects import read_objects

        return read_objects(path, truth)
    path = Path(path)
    if path.suffix == ".parquet" or any(path.glob("*.parquet")):
        return named(read_table(path), path) if truth is None else read_member(path, truth, None)
    origin = {} if truth is None else origin_of(truth)
    metadata = Metadata(member=path.name.split(".")[0], **origin)
    with options_of("quorum import", "read_results"):
        table = read_results(path, truth, metadata=metadata, categories_of=categories_of)
    notes(path, table.metadata.made_by["notes"])
    return table


def load_truth(ground_truth: GroundTruth | str | os.PathLike[str]) -> GroundTruth:
    """Read ground truth; what is ground truth already is returned as it is.

    Args:
        ground_truth: Annotations in any format that the commands know. What goes with a CSV file of boxes is given to
            `evaluation.read_open_images`.

    Raises:
        InputError: If it cannot be read.
    """
    return ground_truth if isinstance(ground_truth, GroundTruth) else read_truth(Path(ground_truth), None)

"""Command `quorum export`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from evaluation.cli.output import Output
from evaluation.cli.truth import NO_FILES, OpenImagesFiles, read_truth

__all__ = ["export"]


def export(
    format: str,  # noqa: A002 - the word that users know it by
    table: Path,
    /,
    *,
    output: Output,
    ground_truth: Annotated[Path | None, Parameter(name=("--ground-truth", "-g"), allow_leading_hyphen=True)] = None,
    open_images: OpenImagesFiles = NO_FILES,
) -> None:
    """Write a table as result files of another format.

    Args:
        format: coco, csv, kitti, mot, openimages, voc, yolo.
        table: A Parquet file or a folder of parts.
        output: The file, or the folder of formats with a file per image.
        ground_truth: Annotations of any format: the names and sizes of images and the names of categories, which most
            formats have in place of ids.
        open_images: What goes with a CSV file of boxes as ground truth.
    """
    from evaluation.results import write_results
    from fusion.storage import read_metadata
    from fusion.terminal import notes, stderr

    truth = None if ground_truth is None else read_truth(ground_truth, None, open_images)
    rows = read_metadata(table)[1]
    notes(output, write_results(table, output, format, truth))
    stderr.print(f"{output}: {rows:,} detections", highlight=False)

"""Command `quorum evaluate`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from evaluation.belonging import check_belongs
from evaluation.cli.common import (
    NO_FILES,
    GroundTruthFile,
    OpenImagesFiles,
    prepared_truth,
    read_member,
    some_tables,
)
from evaluation.cli.protocols import OFFICIAL, IouType, ProtocolName, ProtocolOptions, protocol_of
from evaluation.ground_truth import GroundTruth
from evaluation.open_images import PreparedOpenImages
from evaluation.open_images_result import OpenImagesResult
from evaluation.prepared import Prepared
from evaluation.result import CocoResult
from fusion.errors import InputError
from fusion.storage import part_paths, read_metadata
from fusion.terminal import announcing_compilation, notes, print_table, progress_bar, stdout

__all__ = ["evaluate"]


def evaluate(
    *tables: Path,
    ground_truth: GroundTruthFile,
    protocol: ProtocolName = "coco",
    iou_type: IouType = "bbox",
    as_format: Annotated[Literal["text", "json"], Parameter(name="--format")] = "text",
    images: Path | None = None,
    options: ProtocolOptions = OFFICIAL,
    open_images: OpenImagesFiles = NO_FILES,
    per_category: bool = True,
) -> None:
    """Measure tables by an official protocol: its figures, and a table per category.

    Args:
        tables: Parquet files or folders of parts.
        ground_truth: COCO or LVIS annotations, or the CSV file of Open Images boxes.
        protocol: coco, lvis, or openimages for the Open Images challenge.
        iou_type: Boxes or masks.
        as_format: text for people, or one JSON list with an object per table.
        images: Measure only these images: a text file with an id per line, as `quorum split` writes.
        options: Of the protocol, where they are not to be the official ones.
        open_images: What goes with a CSV file as ground truth.
        per_category: Print the table per category.
    """
    chosen = protocol_of(protocol, iou_type, options)
    paths = some_tables(tables, "evaluate")
    with announcing_compilation():
        truth, prepared = prepared_truth(ground_truth, chosen, images, open_images)
        results = [(path, _measured(path, truth, prepared, images)) for path in paths]
    if as_format == "json":
        rows = [{"table": str(path), **result.to_dict()} for path, result in results]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
        return
    console = stdout()
    for path, result in results:
        what = f"{protocol}, {iou_type}" if protocol != "coco" else iou_type
        console.print(str(path), style="bold", highlight=False, end="")
        console.print(f"  ({what}, {len(truth.image_id):,} images)", highlight=False)
        print_table(result.to_rich())
        if per_category:
            print_table(result.to_rich(per_category=True))


def _measured(
    path: Path, truth: GroundTruth, prepared: Prepared | PreparedOpenImages, images: Path | None
) -> CocoResult | OpenImagesResult:
    """Evaluate a table; notes and errors name its file."""
    result: CocoResult | OpenImagesResult
    try:
        if isinstance(prepared, PreparedOpenImages) and len(part_paths(path)) > 1 and images is None:
            # part by part: Open Images tables need not fit in memory
            notes(path, check_belongs(path, read_metadata(path)[0], truth))
            with progress_bar() as bar:
                task = bar.add_task(path.name, total=None)
                result = prepared.evaluate_parts(
                    path, lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
                )
        else:
            result = prepared.evaluate(read_member(path, truth, images))
    except InputError as error:
        if str(path) in error.where:
            raise
        raise InputError(f"{path}, {error.where}", error.problem, error.remedy) from error
    notes(path, result.notes)
    return result

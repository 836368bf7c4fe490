"""Command `quorum evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.cli.by_parts import evaluate_by_parts
from evaluation.cli.figure_options import USUAL, FigureOptions
from evaluation.cli.image_lists import named_slices
from evaluation.cli.members import read_member, short_names, some_tables
from evaluation.cli.output import Form
from evaluation.cli.protocols import OFFICIAL, IouType, ProtocolName, ProtocolOptions, protocol_of
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, prepared_truth
from evaluation.hidden_tables import as_given
from fusion.errors import InputError

if TYPE_CHECKING:
    from evaluation.ground_truth import GroundTruth
    from evaluation.open_images import PreparedOpenImages
    from evaluation.open_images_result import OpenImagesResult
    from evaluation.prepared import Prepared
    from evaluation.result import CocoResult

__all__ = ["evaluate"]


def evaluate(
    *tables: Path,
    ground_truth: GroundTruthFile,
    protocol: ProtocolName = "coco",
    iou_type: IouType = "bbox",
    as_format: Form = "text",
    figures: FigureOptions = USUAL,
    images: Path | None = None,
    slices: str | None = None,
    options: ProtocolOptions = OFFICIAL,
    open_images: OpenImagesFiles = NO_FILES,
    per_category: bool = True,
) -> None:
    """Measure tables by an official protocol: its figures, and a table per category.

    Several tables stand side by side, with the AP of each category (or the figures that are named).

    Args:
        tables: Parquet files, folders of parts, or result files of any format.
        ground_truth: Annotations of any format (docs/formats.md).
        protocol: coco, lvis, or openimages for the Open Images challenge.
        iou_type: Boxes or masks.
        as_format: text for people, Markdown or HTML tables, or one JSON list with an object per table.
        figures: Figures to show.
        images: Measure only these images: a text file with an id per line, as `quorum split` writes.
        slices: Named subsets of the images to measure as well: a CSV file with the columns image and name, or a field
            of the images in the ground truth, such as camera.
        options: Of the protocol, where they are not to be the official ones.
        open_images: What goes with a CSV file as ground truth.
        per_category: Print the table per category.
    """
    from evaluation.measured import categories_beside, figures_beside
    from evaluation.on_slices import figures_of, figures_table
    from fusion.printed_table import print_heading, print_json, print_table
    from fusion.terminal import announcing_compilation

    chosen = protocol_of(protocol, iou_type, options)
    wanted = figures.names(chosen, "stats")
    paths = some_tables(tables, "evaluate")
    with announcing_compilation():
        truth, prepared = prepared_truth(ground_truth, chosen, images, open_images)
        parts = named_slices(slices, truth, images)
        results = [(path, _measured(path, truth, prepared, images)) for path in paths]
    if as_format == "json":
        print_json([{"table": str(as_given(path)), **figures_of(result, wanted, parts)} for path, result in results])
        return
    what = f"{protocol}, {iou_type}" if protocol != "coco" else iou_type
    about = f"{what}, {len(truth.image_id):,} images"
    if len(results) == 1:
        [(path, result)] = results
        print_heading(f"{as_given(path)} ({about})", as_format)
        printed = [result.to_table(wanted), *([result.to_table(wanted, per_category=True)] if per_category else ())]
    else:
        beside = dict(zip(short_names(paths), (result for _, result in results), strict=True))
        print_heading(about, as_format)
        printed = [figures_beside(beside, wanted), *(categories_beside(beside, wanted) if per_category else ())]
    if parts is not None:
        names = [as_given(path).name for path in paths] if len(paths) == 1 else short_names(paths)
        beside = dict(zip(names, (result for _, result in results), strict=True))
        printed = [*printed, figures_table(beside, parts, wanted)]
    for table in printed:
        print_table(table, as_format)


def _measured(
    path: Path,
    truth: "GroundTruth",
    prepared: "Prepared | PreparedOpenImages",
    images: Path | None,
) -> "CocoResult | OpenImagesResult":
    """Evaluate a table; notes and errors name its file."""
    from fusion.terminal import notes

    result: CocoResult | OpenImagesResult | None
    try:
        result = evaluate_by_parts(path, truth, prepared, images)
        if result is None:
            masks = ("mask",) if prepared.protocol.iou_type == "segm" else ()
            result = prepared.evaluate(read_member(path, truth, images, masks))
    except InputError as error:
        if str(path) in error.where:
            raise
        raise InputError(f"{path}, {error.where}", error.problem, error.remedy) from error
    notes(as_given(path), result.notes)
    return result

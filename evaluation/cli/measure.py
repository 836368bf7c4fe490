"""Command `quorum evaluate`."""

from collections.abc import Sequence
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
    from fusion.shards import Shard

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
    shard: str | None = None,
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
        shard: Of folders of parts, match only a share, such as 1/4 or auto (see `quorum fuse`), and keep it beside the
            parts; whoever makes the last one prints.
    """
    from evaluation.measured import categories_beside, figures_beside
    from evaluation.on_slices import figures_of, figures_table
    from fusion.printed_table import print_heading, print_json, print_table
    from fusion.shards import Shard
    from fusion.terminal import announcing_compilation

    chosen = protocol_of(protocol, iou_type, options)
    wanted = figures.names(chosen, "stats")
    paths = some_tables(tables, "evaluate")
    with announcing_compilation():
        truth, prepared = prepared_truth(ground_truth, chosen, images, open_images)
        parts = named_slices(slices, truth, images)
        if shard is None:
            results = [(path, _measured(path, truth, prepared, images)) for path in paths]
        else:
            found = _measured_in_shares(paths, truth, prepared, images, Shard.parse(shard))
            if found is None:
                return
            results = found
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
    shard: "Shard | None" = None,
) -> "CocoResult | OpenImagesResult":
    """Evaluate a table; notes and errors name its file."""
    from fusion.terminal import notes

    result: CocoResult | OpenImagesResult | None
    try:
        result = evaluate_by_parts(path, truth, prepared, images, shard)
        if result is None:
            masks = ("mask",) if prepared.protocol.iou_type == "segm" else ()
            result = prepared.evaluate(read_member(path, truth, images, masks))
    except InputError as error:
        if str(path) in error.where:
            raise
        raise InputError(f"{path}, {error.where}", error.problem, error.remedy) from error
    notes(as_given(path), result.notes)
    return result


def _measured_in_shares(
    paths: Sequence[Path],
    truth: "GroundTruth",
    prepared: "Prepared | PreparedOpenImages",
    images: Path | None,
    shard: "Shard",
) -> "list[tuple[Path, CocoResult | OpenImagesResult]] | None":
    """Match a share of each table; return the results if others have matched all of theirs, else None."""
    from evaluation.runs import SharesLeft
    from fusion.terminal import notes

    results: dict[Path, CocoResult | OpenImagesResult] = {}
    left: dict[Path, str] = {}
    for path in (*paths, *paths):  # once more: others may have gone on while this process was at another table
        if path not in results:
            try:
                results[path] = _measured(path, truth, prepared, images, shard)
                left.pop(path, None)
            except SharesLeft as error:
                left[path] = str(error)
    for path, text in left.items():
        notes(as_given(path), [f"{text}; whoever makes the last of the others prints"])
    return None if left else [(path, results[path]) for path in paths]

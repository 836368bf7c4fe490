"""Command `quorum compare`, and what it shares with `quorum leaderboard`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from evaluation.cli.by_parts import evaluate_by_parts
from evaluation.cli.figure_options import USUAL, FigureOptions
from evaluation.cli.image_lists import named_slices, read_groups
from evaluation.cli.members import read_member, short_names
from evaluation.cli.output import Form, Html
from evaluation.cli.protocols import OFFICIAL, IouType, ProtocolName, ProtocolOptions, protocol_of
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, prepared_truth
from fusion.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from evaluation.ground_truth import GroundTruth
    from evaluation.open_images import PreparedOpenImages
    from evaluation.open_images_result import OpenImagesResult
    from evaluation.prepared import Prepared
    from evaluation.result import CocoResult
    from evaluation.slices import Slices
    from evaluation.statistics import Replicates
    from fusion.table import DetectionTable

__all__ = ["Drawn", "compare", "replicated"]


class Drawn(NamedTuple):
    """A table and its figures on draws of the images.

    Attributes:
        table: The table; of one that was measured part by part what it says about itself, without rows.
        detections: Number of its rows on the images.
        result: Its evaluation.
        entry: Its figures on all images.
        by_slice: On each slice.
        detections_by_slice: Number of its rows on the images of each slice.
    """

    table: "DetectionTable"
    detections: int
    result: "CocoResult | OpenImagesResult"
    entry: "Replicates"
    by_slice: "dict[str, Replicates]"
    detections_by_slice: dict[str, int]


def compare(
    a: Path,
    b: Path,
    /,
    *,
    ground_truth: GroundTruthFile,
    iou_type: IouType = "bbox",
    protocol: ProtocolName = "coco",
    options: ProtocolOptions = OFFICIAL,
    groups: Path | None = None,
    replicates: int = 1000,
    seed: int = 0,
    images: Path | None = None,
    slices: str | None = None,
    open_images: OpenImagesFiles = NO_FILES,
    as_format: Form = "text",
    figures: FigureOptions = USUAL,
    per_category: bool = True,
    html: Html = None,
) -> None:
    """Say which of two tables is better, by how much, how surely, and in which categories and sizes.

    The images are drawn again and again with replacement (a paired bootstrap); see docs/compare.md.

    Args:
        a: A Parquet file, a folder of parts, or result files of any format.
        b: Another; differences are b minus a.
        ground_truth: Annotations of any format (docs/formats.md).
        iou_type: Boxes or masks.
        protocol: Which official evaluation.
        options: Of the protocol, where they are not to be the official ones.
        groups: A CSV file with columns image_id and group: images of one group (a video) are drawn together.
        replicates: Number of draws.
        seed: Of the draws.
        images: Compare on these images only: a text file with an id per line.
        slices: Named subsets of the images to measure as well: a CSV file with the columns image and name, or a field
            of the images in the ground truth, such as camera.
        open_images: What goes with a CSV file as ground truth.
        as_format: text for people, Markdown or HTML, or a JSON object.
        figures: Figures to compare; AP always is.
        per_category: Print the table per category.
        html: Write one HTML page as well, with tables to sort and curves of both; `quorum report` has more.
    """
    from evaluation.comparison import compare as compare_replicates
    from evaluation.on_slices import compare_slices, comparisons_table
    from fusion.printed_table import print_json, print_line, print_table

    chosen = protocol_of(protocol, iou_type, options)
    wanted = figures.names(chosen, "entries")
    truth, prepared = prepared_truth(ground_truth, chosen, images, open_images)
    labels = None if groups is None else read_groups(groups, truth)
    names = short_names((a, b))
    parts = named_slices(slices, truth, images)
    first, second = (
        replicated(
            path, truth, prepared, images,
            replicates=replicates, seed=seed, groups=labels, figures=wanted, slices=parts,
        )
        for path in (a, b)
    )  # fmt: skip
    comparison = compare_replicates(first.entry, second.entry, name_a=names[0], name_b=names[1])
    by_slice = compare_slices(first.by_slice, second.by_slice, name_a=names[0], name_b=names[1])
    if html is not None:
        from evaluation.report import Material, Page, sections_of

        results = {name: one.result for name, one in zip(names, (first, second), strict=True)}
        material = Material(comparison=comparison, results=results, slices=parts, figures=wanted)
        subject = (
            f"{protocol} {options}".strip() + f", {iou_type}, {comparison.images:,} images of {ground_truth.name}."
        )
        Page(f"{names[1]} against {names[0]}", subject, sections_of(material)).write(html)
    if as_format == "json":
        own = {name: one.to_dict() for name, one in by_slice.items()}
        print_json(comparison.to_dict() | ({"slices": own} if own else {}))
        return
    print_line(comparison.sentence, as_format)
    if comparison.wilcoxon == comparison.wilcoxon:
        print_line(f"Wilcoxon's signed-rank test over categories: p = {comparison.wilcoxon:.2g}", as_format)
    print_table(comparison.to_table(), as_format)
    if per_category and len(comparison.per_category) > 1:
        print_table(comparison.to_table(per_category=True), as_format)
    if by_slice:
        print_table(comparisons_table(by_slice), as_format)


def replicated(
    path: Path,
    truth: "GroundTruth",
    prepared: "Prepared | PreparedOpenImages",
    images: Path | None,
    *,
    replicates: int,
    seed: int,
    groups: "np.ndarray | None",
    figures: Sequence[str] | None = None,
    drawn: Sequence[str] | None = None,
    slices: "Slices | None" = None,
    by_parts: bool = True,
) -> Drawn:
    """Read a table, evaluate it and its replicates, and those of slices of the images.

    Args:
        path: A Parquet file or a folder of parts.
        truth: Ground truth of the images that are measured.
        prepared: The same, prepared.
        images: Whether the user chose images.
        replicates: Number of draws.
        seed: Of the draws.
        groups: Of the images, see `bootstrap`.
        figures: As in `bootstrap`.
        drawn: As in `bootstrap`.
        slices: Named subsets of the images.
        by_parts: Whether a folder may be measured part by part, since its rows are not wanted.
    """
    from evaluation.on_slices import bootstrap_slices
    from evaluation.statistics import bootstrap
    from fusion.terminal import announcing_compilation, notes, progress_bar

    with announcing_compilation():
        try:
            table, rows, result = _evaluated(path, truth, prepared, images, by_parts=by_parts)
        except InputError as error:
            if str(path) in error.where:
                raise
            raise InputError(f"{path}, {error.where}", error.problem, error.remedy) from error
    with announcing_compilation(), progress_bar() as bar:
        task = bar.add_task(f"drawing {path.name}", total=replicates)
        notes(path, result.notes)
        entry = bootstrap(
            result,
            replicates=replicates,
            seed=seed,
            groups=groups,
            figures=figures,
            drawn=drawn,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        parts = (
            {}
            if slices is None
            else bootstrap_slices(
                result, slices, groups=groups, replicates=replicates, seed=seed, figures=figures, drawn=drawn
            )
        )
    counts = (
        {} if slices is None else {name: _rows_on(table, result, truth, own) for name, own in slices.images.items()}
    )
    return Drawn(table, rows, result, entry, parts, counts)


def _rows_on(
    table: "DetectionTable", result: "CocoResult | OpenImagesResult", truth: "GroundTruth", images: "np.ndarray"
) -> int:
    from evaluation.open_images_stored import StoredOpenImagesResult
    from evaluation.slice_boards import detections_on
    from evaluation.stored import StoredResult

    if isinstance(result, (StoredResult, StoredOpenImagesResult)):
        return result.on(images).rows
    return detections_on(table, truth.image_id[images])


def _evaluated(
    path: Path,
    truth: "GroundTruth",
    prepared: "Prepared | PreparedOpenImages",
    images: Path | None,
    *,
    by_parts: bool,
) -> "tuple[DetectionTable, int, CocoResult | OpenImagesResult]":
    """Evaluate a table: part by part where figures are all that is asked for."""
    from fusion.parts import named
    from fusion.storage import read_table

    stored = evaluate_by_parts(path, truth, prepared, images) if by_parts else None
    if stored is not None:
        return named(read_table(path, images=[]), path), stored.rows, stored
    table = read_member(path, truth, images)
    return table, len(table), prepared.evaluate(table)

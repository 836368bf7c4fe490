"""Command `quorum report`."""

from pathlib import Path

from evaluation.cli.compare import replicated
from evaluation.cli.figure_options import USUAL, FigureOptions
from evaluation.cli.image_lists import named_slices, read_groups
from evaluation.cli.members import short_names, some_tables
from evaluation.cli.output import Output
from evaluation.cli.protocols import OFFICIAL, IouType, ProtocolName, ProtocolOptions, protocol_of
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, prepared_truth
from fusion.errors import InputError

__all__ = ["report"]

_PANEL = 400  # pixels of a panel's longer side: a page has many pictures


def report(
    *tables: Path,
    ground_truth: GroundTruthFile,
    output: Output,
    iou_type: IouType = "bbox",
    protocol: ProtocolName = "coco",
    options: ProtocolOptions = OFFICIAL,
    iou: float = 0.5,
    groups: Path | None = None,
    images_folder: Path | None = None,
    replicates: int = 1000,
    seed: int = 0,
    images: Path | None = None,
    slices: str | None = None,
    open_images: OpenImagesFiles = NO_FILES,
    figures: FigureOptions = USUAL,
) -> None:
    """Write one HTML page of all that can be said of tables: ranking, figures, curves, errors, agreement.

    The page needs no other file and no network; see docs/report.md.

    Args:
        tables: Parquet files, folders of parts, or result files of any format.
        ground_truth: Annotations of any format (docs/formats.md).
        output: The page, such as report.html; one that is there is replaced.
        iou_type: Boxes or masks.
        protocol: Which official evaluation.
        options: Of the protocol, where they are not to be the official ones.
        iou: From which IoU on a detection is right, in errors, confusion and agreement.
        groups: A CSV file with columns image_id and group: images of one group (a video) are drawn together.
        images_folder: Folder with the picture files; without it marks are drawn on empty frames.
        replicates: Number of draws for the intervals.
        seed: Of the draws.
        images: Measure only these images: a text file with an id per line.
        slices: Named subsets of the images to measure as well: a CSV file with the columns image and name, or a field
            of the images in the ground truth, such as camera.
        open_images: What goes with a CSV file as ground truth.
        figures: Figures to show beside AP.
    """
    from evaluation.analysis.ensemble_analysis import analyze_ensemble
    from evaluation.analysis.table_analysis import analyze_table
    from evaluation.label_errors import find_label_errors
    from evaluation.leaderboard import Entry, Leaderboard, Split
    from evaluation.pictures import show
    from evaluation.prepared import Prepared
    from evaluation.report import Material, Page, sections_of
    from evaluation.result import CocoResult
    from fusion.terminal import announcing_compilation, progress_bar, stderr

    some_tables(tables, "report")
    chosen = protocol_of(protocol, iou_type, options)
    if protocol == "openimages" and iou != 0.5:
        raise InputError("option --iou", "does not go with --protocol openimages", "Leave it out")
    wanted = figures.names(chosen, "entries")
    truth, prepared = prepared_truth(ground_truth, chosen, images, open_images)
    labels = None if groups is None else read_groups(groups, truth)
    parts = named_slices(slices, truth, images)
    measure = f"{protocol} {options}".strip()
    split = Split.of(truth, protocol=measure, iou_type=iou_type, replicates=replicates, seed=seed, groups=labels)
    board, results, members = Leaderboard(split), {}, []
    for path, name in zip(tables, short_names(tables), strict=True):
        drawn = replicated(
            path, truth, prepared, images,
            replicates=replicates, seed=seed, groups=labels, figures=wanted, drawn=("AP",) if wanted is None else None,
            by_parts=False,
        )  # fmt: skip
        board = board.with_entry(Entry.of(name, path, len(drawn.table), drawn.entry))
        results[name] = drawn.result
        members.append(drawn.table.with_metadata(member=name))
    with announcing_compilation(), progress_bar() as bar:
        task = bar.add_task("analyzing", total=None)
        analyses, ensemble = {}, None
        for (name, result), member in zip(results.items(), members, strict=True):
            bar.update(task, description=f"analyzing {name}")
            analyses[name] = analyze_table(member, prepared, iou=iou, figures=wanted, result=result)
        official = [result for result in results.values() if isinstance(result, CocoResult)]
        gallery, suspects = None, None
        if isinstance(prepared, Prepared):
            bar.update(task, description="looking at images")
            gallery = show(members, prepared, images_folder=images_folder, iou=iou, size=_PANEL, results=official)
            single = [member for member in members if "recipe" not in member.metadata.made_by]
            if len(single) > 1 and iou_type == "bbox":
                suspects = find_label_errors(single, truth, prepared.protocol)
        if isinstance(prepared, Prepared) and len(members) > 1:
            ensemble = analyze_ensemble(
                members,
                prepared,
                iou=iou,
                results=official,
                progress=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
            )
        material = Material(
            board=board,
            results=results,
            analyses=analyses,
            ensemble=ensemble,
            gallery=gallery,
            suspects=suspects,
            slices=parts,
            figures=wanted,
        )
        bar.update(task, description="writing")
        names = ", ".join(results) if len(results) < 4 else f"{len(results)} tables"
        subject = f"{measure}, {iou_type}, {len(truth.image_id):,} images of {ground_truth.name}."
        Page(f"Report: {names}", subject, sections_of(material)).write(output)
    stderr.print(f"{output}: the report", highlight=False, soft_wrap=True)

"""Command `quorum analyze`."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evaluation.cli.figure_options import USUAL, FigureOptions
from evaluation.cli.members import read_member, some_tables
from evaluation.cli.output import Html, Output
from evaluation.cli.protocols import IouType, ProtocolName, protocol_of
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, prepared_truth
from fusion.errors import InputError

if TYPE_CHECKING:
    from evaluation.analysis.ensemble_analysis import EnsembleAnalysis
    from evaluation.analysis.table_analysis import TableAnalysis
    from evaluation.ground_truth import GroundTruth
    from fusion.printed_table import Cell, PrintedTable
    from fusion.table import DetectionTable

__all__ = ["analyze"]


def analyze(
    *tables: Path,
    ground_truth: GroundTruthFile,
    output: Output,
    iou_type: IouType = "bbox",
    protocol: ProtocolName = "coco",
    iou: float = 0.5,
    recipe: Path | None = None,
    images: Path | None = None,
    picture_format: Literal["png", "svg"] = "png",
    figures: FigureOptions = USUAL,
    open_images: OpenImagesFiles = NO_FILES,
    html: Html = None,
) -> None:
    """Find out why tables are as good as they are: frames, pictures and a report in words.

    For each table: errors by kind (TIDE), precision-recall curves, best score thresholds, calibration,
    confusion, sizes. For several tables also: agreement, what each brings to their fusion, bounds.

    Args:
        tables: Parquet files, folders of parts, or result files of any format.
        ground_truth: Annotations of any format (docs/formats.md).
        output: A new folder for report.md, the frames (CSV) and the pictures.
        iou_type: Boxes or masks.
        protocol: Which official evaluation decides what counts.
        iou: From which IoU on a detection is right.
        recipe: How to fuse several tables when measuring contributions; WBF at .55 when not given.
        images: Analyze only these images: a text file with an id per line, as `quorum split` writes.
        picture_format: Of the pictures.
        figures: Figures in the summary and in categories.csv.
        open_images: What goes with a CSV file as ground truth.
        html: Write the same as one HTML page, too; `quorum report` has intervals as well.
    """
    from evaluation.analysis.ensemble_analysis import analyze_ensemble
    from evaluation.analysis.members import member_names
    from evaluation.analysis.parts_analysis import analyze_parts
    from evaluation.analysis.table_analysis import analyze_table
    from evaluation.figures import by_default
    from evaluation.open_images import PreparedOpenImages
    from evaluation.prepared import Prepared
    from evaluation.result import CocoResult
    from fusion.atomic import replacing
    from fusion.printed_table import print_table
    from fusion.recipe_file import read_recipe
    from fusion.storage import part_paths
    from fusion.terminal import announcing_compilation, notes, progress_bar, stderr, stdout

    paths = some_tables(tables, "analyze")
    if output.exists():
        problem = "exists already, and a folder is not overwritten"
        raise InputError(output, problem, "Remove it or choose another name")
    chosen = protocol_of(protocol, iou_type)
    if protocol == "openimages" and (iou != 0.5 or recipe is not None):
        given = "--iou" if iou != 0.5 else "--recipe"
        raise InputError(f"option {given}", "does not go with --protocol openimages", "Leave it out")
    wanted = figures.names(chosen, "summary")
    truth, prepared = prepared_truth(ground_truth, chosen, images, open_images)
    fusion = None if recipe is None else read_recipe(recipe)
    by_parts = len(paths) == 1 and len(part_paths(paths[0])) > 1 and isinstance(prepared, Prepared)
    members = [_described(paths[0], truth)] if by_parts else [read_member(path, truth, images) for path in paths]
    if not by_parts and any(len(part_paths(path)) > 1 for path in paths):
        why = "for Open Images" if isinstance(prepared, PreparedOpenImages) else "to compare members object by object"
        notes("analyze", [f"all of the tables are in memory at once, {why}; a single folder is analyzed part by part"])
    names = member_names(members)
    with announcing_compilation(), progress_bar() as bar, replacing(output, folder=True) as folder:
        task = bar.add_task("analyzing", total=len(names))
        chapters = []
        for place, (name, member, path) in enumerate(zip(names, members, paths, strict=True)):
            bar.update(task, description=f"analyzing {name}", completed=place)
            try:
                if by_parts and isinstance(prepared, Prepared):
                    chosen_ids = None if images is None else truth.image_id
                    tell = partial(_shown, bar.update, task)
                    analysis = analyze_parts(path, prepared, iou=iou, figures=wanted, images=chosen_ids, progress=tell)
                else:
                    analysis = analyze_table(member, prepared, iou=iou, figures=wanted)
            except InputError as error:
                raise InputError(f"{path}, {error.where}", error.problem, error.remedy) from error
            notes(path, analysis.result.notes)
            own = folder if len(names) == 1 else folder / _folder_name(name, place)
            own.mkdir(exist_ok=True)
            shown = analysis.write(own, name, picture_format)
            prefix = "" if own == folder else f"{own.name}/"
            chapters.append((name, analysis, [prefix + picture for picture in shown]))
        ensemble, common = None, []
        if isinstance(prepared, PreparedOpenImages):
            if len(names) > 1:
                notes("analyze", ["agreement, contributions and bounds of members are left out for Open Images"])
        elif len(names) > 1:
            ensemble = analyze_ensemble(
                members,
                prepared,
                fusion,
                iou=iou,
                results=[one.result for _, one, _ in chapters if isinstance(one.result, CocoResult)],
                progress=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
            )
            common = ensemble.write(folder, picture_format)
        text = _report(chapters, ensemble, common, f"{iou_type}, {len(truth.image_id):,} images of {ground_truth.name}")
        (folder / "report.md").write_text(text, encoding="utf-8")
    analyses = [(name, analysis) for name, analysis, _ in chapters]
    if html is not None:
        from evaluation.report import Material, Page, sections_of

        results = {name: analysis.result for name, analysis in analyses}
        material = Material(results=results, analyses=dict(analyses), ensemble=ensemble, figures=wanted)
        subject = f"{protocol}, {iou_type}, {len(truth.image_id):,} images of {ground_truth.name}."
        Page(f"Analysis: {', '.join(names)}", subject, sections_of(material)).write(html)
    print_table(_summary(analyses, wanted or by_default(chosen, "summary")))
    for line in ensemble.sentences() if ensemble is not None else chapters[0][1].sentences():
        stdout().print(f"* {line}", highlight=False)
    stderr.print(f"{output / 'report.md'}: the report", highlight=False)


def _described(path: Path, truth: "GroundTruth") -> "DetectionTable":
    """Return what a table says about itself, without rows."""
    from evaluation.belonging import check_belongs
    from fusion.parts import named
    from fusion.storage import read_table
    from fusion.terminal import notes

    table = named(read_table(path, images=[]), path)
    notes(path, check_belongs(path, table.metadata, truth))
    return table


def _shown(update: "Callable[..., None]", task: int, what: str, done: int, total: int) -> None:
    update(task, description=what, completed=done, total=total)


def _folder_name(name: str, place: int) -> str:
    """A folder for a member's files; the number keeps names apart that differ in odd characters only."""
    return f"{place + 1:02d}-{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}"


def _summary(analyses: "Sequence[tuple[str, TableAnalysis]]", figures: Sequence[str]) -> "PrintedTable":
    from evaluation.figures import figure_of
    from fusion.printed_table import PrintedColumn, PrintedTable

    names = [PrintedColumn(figure_of(name).name, figure_of(name).text, right=True) for name in figures]
    others = {"worst error": "", "dAP": ".4f", "best score": ".3g", "F1": ".3f", "ECE": ".3f"}
    taken = [name for name in others if name not in figures]
    columns = [PrintedColumn(name, others[name], right=True) for name in taken]
    table = PrintedTable([PrintedColumn("table"), *names, *columns])
    for name, analysis in analyses:
        costs = analysis.errors.costs
        worst = max(analysis.errors.counts, key=lambda error: costs[error])
        row: dict[str, Cell] = {
            "worst error": worst if costs[worst] > 0 else "-",
            "dAP": costs[worst],
            "best score": analysis.best.score,
            "F1": analysis.best.f1,
            "ECE": analysis.calibration.ECE,
        }
        table.rows.append([name, *analysis.result.figures(figures).values(), *(row[other] for other in taken)])
    return table


def _report(
    chapters: "Sequence[tuple[str, TableAnalysis, list[str]]]",
    ensemble: "EnsembleAnalysis | None",
    common: Sequence[str],
    subject: str,
) -> str:
    lines = [f"# Analysis: {', '.join(name for name, *_ in chapters)}", "", f"{subject}.", ""]
    if ensemble is not None:
        lines += ["## The members together", "", *_chapter(ensemble.sentences(), common)]
    for name, analysis, pictures in chapters:
        lines += [f"## {name}", "", *_chapter(analysis.sentences(), pictures)]
    return "\n".join(lines)


def _chapter(sentences: Sequence[str], pictures: Sequence[str]) -> list[str]:
    return [*(f"* {sentence}" for sentence in sentences), "", *(f"![{name}]({name})\n" for name in pictures)]

"""Command `quorum auto`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from evaluation.cli.groups import groups_of
from evaluation.cli.members import read_member
from evaluation.cli.output import Output
from evaluation.cli.protocols import IouType, ProtocolName, protocol_of
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, read_truth
from fusion.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.ground_truth import GroundTruth
    from fusion.table import DetectionTable
    from search.auto import Improvement

__all__ = ["auto"]


def auto(
    *files: Path,
    ground_truth: GroundTruthFile,
    output: Output,
    minutes: float = 5.0,
    test_files: Annotated[tuple[Path, ...], Parameter(negative="", consume_multiple=True)] = (),
    groups: Path | None = None,
    protocol: ProtocolName = "coco",
    iou_type: IouType = "bbox",
    seed: int = 0,
    open_images: OpenImagesFiles = NO_FILES,
) -> None:
    """Turn the result files of several detectors into a better one, and say by how much.

    Half of the images chooses and learns, the other half measures: no figure is of images that it was learned on. Where
    fusing does not help, the answer is the best member, with the reason. Ctrl-C answers with the best so far, and the
    same command goes on.

    Args:
        files: A result file of each detector on the images of the ground truth: COCO results, an Open Images CSV file,
            or a table.
        ground_truth: COCO or LVIS annotations, or a CSV file of Open Images boxes.
        output: Folder for fused.parquet, results.json (or results.csv), best.toml, report.md and the trials.
        minutes: About how long it may take.
        test_files: Result files of the same detectors, in the same order, on images without ground truth: these are
            fused then.
        groups: A CSV file with columns image_id and group: images of one group (a video, a day) are kept together.
            Taken from the file names, if they tell, when not given.
        protocol: Which official evaluation.
        iou_type: Boxes or masks.
        seed: Of everything random.
        open_images: What goes with a CSV file as ground truth.
    """
    from evaluation.submissions import write_submission
    from fusion.coco_results import write_coco_results
    from fusion.recipe_file import write_recipe
    from fusion.storage import write_table
    from fusion.terminal import announcing_compilation, progress_bar
    from search.auto import improve
    from search.report import write_report

    if not files:
        raise InputError("auto", "no result file was given", "Name one for each detector")
    if test_files and len(test_files) != len(files):
        raise InputError(
            "option --test-files", f"got {len(test_files)} for {len(files)} detectors", "Give one each, in their order"
        )
    if minutes <= 0:
        raise InputError("option --minutes", f"expected a number above 0, got {minutes:g}")
    with announcing_compilation(), progress_bar() as bar:
        task = bar.add_task("reading", total=None)
        truth = read_truth(ground_truth, None, open_images)
        labels = groups_of(truth, groups, "auto")
        tables = _named(files, [_read(path, truth) for path in files])
        tests = [_read(path, None) for path in test_files]
        output.mkdir(parents=True, exist_ok=True)
        found = improve(
            tables,
            truth,
            protocol_of(protocol, iou_type),
            groups=labels,
            seconds=60 * minutes,
            seed=seed,
            folder=output,
            progress=lambda what: bar.update(task, description=what),
        )
        fused = found.fused
        if tests:
            members = [t.with_metadata(member=one.metadata.member) for t, one in zip(tests, tables, strict=True)]
            fused = found.recipe.fuse(members)
        write_table(fused, output / "fused.parquet")
        results = output / ("results.csv" if files[0].suffix == ".csv" else "results.json")
        if results.suffix == ".json":
            write_coco_results(fused, results)
        elif not tests:
            write_submission(fused, results, "openimages-evaluator", images=truth, iou_type=iou_type)
        else:  # which images they are of, and of what size, only their list can tell
            results = output / "fused.parquet"
    write_recipe(found.recipe, output / "best.toml")
    write_report(found.answer, found.study, output)
    _tell(found, results, output, tested=bool(tests))


def _read(path: Path, truth: GroundTruth | None) -> DetectionTable:
    """Read a table, or results as `quorum import` does, compared with the objects."""
    from evaluation.belonging import origin_of
    from evaluation.results import read_results
    from fusion.parts import named
    from fusion.storage import read_table
    from fusion.table import Metadata
    from fusion.terminal import notes

    if path.is_dir() or path.suffix == ".parquet":
        return named(read_table(path), path) if truth is None else read_member(path, truth, None)
    origin = {} if truth is None else origin_of(truth)
    table = read_results(path, truth, metadata=Metadata(member=path.name.split(".")[0], **origin))
    notes(path, table.metadata.made_by["notes"])
    return table


def _named(files: Sequence[Path], tables: Sequence[DetectionTable]) -> list[DetectionTable]:
    """Give members of one name (files of one name in several folders) the names of their folders as well."""
    names = [str(table.metadata.member) for table in tables]
    twice = {name for name in names if names.count(name) > 1}
    made = [f"{path.parent.name}-{name}" if name in twice else name for path, name in zip(files, names, strict=True)]
    if len(set(made)) < len(made):
        raise InputError(
            "auto", f"two files are of member {next(m for m in made if made.count(m) > 1)!r}", "Rename one"
        )
    return [table.with_metadata(member=name) for table, name in zip(tables, made, strict=True)]


def _tell(found: Improvement, results: Path, folder: Path, *, tested: bool) -> None:
    """Print the answer in a few lines."""
    from fusion.terminal import stdout

    console = stdout()
    answer, verify = found.answer, found.answer.rivals["verify"]
    best = next(rival for rival in verify if rival.name == "best member")
    name = answer.problem.names[0]
    images = len(answer.problem.others[0].truth.image_id)
    if found.helps:
        own = verify[0].replicates.intervals["AP"]
        console.print(
            f"AP {100 * own.value:.2f} on {images:,} images that it was not learned on "
            f"(95 % interval {100 * own.low:.2f} to {100 * own.high:.2f})",
            highlight=False,
        )
        for over in ("best member", "naive ensemble"):
            if any(rival.name == over for rival in verify):
                gain = answer.gain(over, "verify")
                told = f"{over}, {name}" if over == "best member" else over
                surely = "" if gain.low > 0 else "; it may be chance"
                console.print(
                    f"  {100 * gain.value:+.2f} over the {told} "
                    f"({100 * gain.low:+.2f} to {100 * gain.high:+.2f}){surely}",
                    highlight=False,
                )
        brings = ", ".join(f"{member} {100 * loss:+.1f}" for member, loss in found.brings.items())
        if brings:
            console.print(f"What each member brings to the tree: {brings}", highlight=False, soft_wrap=True)
    else:
        own = best.replicates.intervals["AP"]
        console.print(
            f"Fusing does not help here: {found.why_not}. The answer is {name} alone, AP {100 * own.value:.2f} on "
            f"{images:,} images.",
            highlight=False,
        )
    what = "the test files, fused" if tested else "all images, each by what was learned without it"
    console.print(f"{results}: {what}", highlight=False, soft_wrap=True)
    replay = f"quorum fuse TABLES --recipe {folder / 'best.toml'} -o fused.parquet"
    console.print(f"Replay on other files: {replay}; report: {folder / 'report.md'}", highlight=False, soft_wrap=True)

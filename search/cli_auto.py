"""Command `quorum auto`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from evaluation.cli.output import Output
from evaluation.cli.protocols import IouType, ProtocolName
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, read_truth

if TYPE_CHECKING:
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
        ground_truth: Annotations of any format (docs/formats.md).
        output: Folder for fused.parquet, results.json (or results.csv), best.toml, report.html and .md, and the
            trials.
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
    from fusion.terminal import showing_progress
    from search import front

    with showing_progress() as progress:
        progress("reading")
        found = front.auto(
            files,
            ground_truth if open_images == NO_FILES else read_truth(ground_truth, None, open_images),
            output=output,
            minutes=minutes,
            test_files=test_files,
            groups=groups,
            protocol=protocol,
            iou_type=iou_type,
            seed=seed,
            progress=progress,
        )
    results = output / front.results_file(files, tested=bool(test_files))
    _tell(found, results, output, tested=bool(test_files))


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
                surely = "" if gain.low > 0 else "; it may be chance" if gain.high >= 0 else "; on these images"
                console.print(
                    f"  {100 * gain.value:+.2f} over the {told} "
                    f"({100 * gain.low:+.2f} to {100 * gain.high:+.2f}){surely}",
                    highlight=False,
                )
        if len(answer.problem.names) == 1:
            done = f"{answer.problem.preparation.treatment} and scored anew"
            words = f"There is one member, {done}; fusion needs two or more that err differently."
            console.print(words, highlight=False, soft_wrap=True)
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
    console.print(f"Replay on other files: {replay}; report: {folder / 'report.html'}", highlight=False, soft_wrap=True)

"""Command `quorum submit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from evaluation.submissions.coco_file import MAX_RATIO
from fusion.errors import InputError

if TYPE_CHECKING:
    from evaluation.submissions import ImageList, Report

__all__ = ["submit"]

_WIDE = 160  # where stderr is no terminal
_Format = Literal["coco", "lvis", "openimages-detection", "openimages-segmentation", "openimages-evaluator"]


def submit(
    table: Path | None = None,
    /,
    *,
    as_format: Annotated[_Format | None, Parameter(name="--format")] = None,
    ground_truth: Annotated[Path | None, Parameter(name=("--ground-truth", "-g"))] = None,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    check: Path | None = None,
    split_name: Annotated[str | None, Parameter(name="--split")] = None,
    algorithm: str | None = None,
    iou_type: Literal["bbox", "segm"] | None = None,
    class_descriptions: Path | None = None,
    max_per_image: int | None = None,
    digits: int | None = None,
    score_digits: int | None = None,
    max_ratio: float = MAX_RATIO,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Write a table as a leaderboard's submission, or check one that is there.

    What is wrong or odd is reported before anything is written; with errors nothing is. Exit codes: 0 without
    errors, 1 when --check found what a server would refuse or not count, 2 when nothing was written or checked.

    Args:
        table: A Parquet file or a folder of parts.
        as_format: What to write; with --check it is told from the file.
        ground_truth: The split's images: COCO-style JSON (annotations are not needed), a CSV file with ImageID and
            for masks and pixels ImageWidth, ImageHeight, or a text file with an id per line.
        output: A folder, for a file named as servers want it, or a file. COCO and LVIS: .json is not zipped.
        check: An existing submission, also one of someone else's.
        split_name: Name of the split, such as test-dev2017.
        algorithm: Name of the method.
        iou_type: Boxes or masks; for formats that have both.
        class_descriptions: Open Images: the class descriptions, whose labels have the category ids 1, 2, ...
        max_per_image: Write the best so many of each image; COCO takes 100, LVIS 300.
        digits: Decimals of box coordinates; all when not given.
        score_digits: Decimals of scores; all when not given.
        max_ratio: With --check, how many times as large as an archive the file in it may be.
        as_json: Print the report as JSON on standard output.
    """
    from evaluation.submissions import Submission
    from evaluation.submissions.report import size_text
    from fusion.terminal import announcing_compilation, progress_bar, stderr

    if (table is None) == (check is None):
        raise InputError("submit", "expected either a table or --check FILE", "Name one of them")
    if check is not None:
        images = _images(ground_truth, as_format, class_descriptions)
        return _check(check, as_format, images, split_name, max_ratio, as_json)
    if as_format is None or ground_truth is None or output is None:
        names = (("--format", as_format), ("--ground-truth", ground_truth), ("--output", output))
        missing = ", ".join(name for name, value in names if value is None)
        raise InputError("submit", f"{missing} is missing", "Or use --check FILE for a submission that is there")
    with announcing_compilation(), progress_bar() as bar:
        task = bar.add_task("checking", total=None)
        submission = Submission(
            str(table),
            as_format,
            images=_images(ground_truth, as_format, class_descriptions) or ground_truth,
            split=split_name,
            algorithm=algorithm,
            iou_type=iou_type,
            max_per_image=max_per_image,
            digits=digits,
            score_digits=score_digits,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _show(submission.report, as_json, Console(stderr=True, width=None if stderr.is_terminal else _WIDE))
    with progress_bar() as bar:
        task = bar.add_task("writing", total=None)
        submission.progress = lambda done, total: bar.update(task, completed=done, total=total)
        path = submission.write(output)
    size = size_text(path.stat().st_size)
    stderr.print(f"{path}: {submission.report.detections:,} detections, {size}", highlight=False)
    return 0


def _check(
    path: Path,
    form: _Format | None,
    images: "ImageList | None",
    split_name: str | None,
    max_ratio: float,
    as_json: bool,
) -> int:
    from evaluation.submissions import check_submission
    from fusion.terminal import announcing_compilation, progress_bar, stderr, stdout

    with announcing_compilation(), progress_bar() as bar:
        task = bar.add_task(f"reading {path.name}", total=None)
        report = check_submission(
            path,
            format=form,
            images=images,
            split=split_name,
            max_ratio=max_ratio,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _show(report, as_json, stdout())
    verdict = "no errors" if report.ok else "a server would refuse it, or not count all of it"
    stderr.print(f"{path}: {verdict}", highlight=False)
    return 0 if report.ok else 1


def _images(path: Path | None, form: _Format | None, classes: Path | None) -> "ImageList | None":
    from evaluation.submissions import read_image_list
    from fusion.class_descriptions import read_class_descriptions

    if path is None:
        if classes is not None:
            raise InputError(
                "option --class-descriptions", "needs the split's images as well", "Give them with --ground-truth"
            )
        return None
    text_ids = classes is not None or (form or "").startswith("openimages")
    images = read_image_list(path, text_ids=text_ids)
    return images if classes is None else images.with_classes(tuple(read_class_descriptions(classes)))


def _show(report: "Report", as_json: bool, console: Console) -> None:
    from fusion.printed_table import print_json

    if as_json:
        print_json(report.to_dict())
        return
    console.print(report.summary(), highlight=False, markup=False, soft_wrap=True)
    if report.findings:
        console.print(report.to_table().to_rich())

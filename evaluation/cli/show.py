"""Command `quorum show`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from evaluation.cli.members import read_member, some_tables
from evaluation.cli.output import Output
from evaluation.cli.protocols import IouType
from evaluation.cli.truth import GroundTruthFile, read_truth
from fusion.errors import InputError

if TYPE_CHECKING:
    from evaluation.pictures import Gallery, Shown

__all__ = ["show"]

_USUAL = 20  # pictures
_Flag = Annotated[bool, Parameter(negative="")]


def show(
    *tables: Path,
    ground_truth: GroundTruthFile,
    output: Output,
    images_folder: Path | None = None,
    image: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    worst: int | None = None,
    most_improved: int | None = None,
    category: str | None = None,
    false_positives: _Flag = False,
    missed: _Flag = False,
    iou_type: IouType = "bbox",
    protocol: Literal["coco", "lvis"] = "coco",
    iou: float = 0.5,
    score: float | None = None,
    size: int = 640,
    images: Path | None = None,
    picture_format: Literal["jpg", "png"] = "jpg",
) -> None:
    """Draw what tables found beside the ground truth: right, wrong and missed, a panel for each table.

    The colours are told apart by colour-blind people, missed objects have broken lines, and each picture has the key.
    Which images: the 20 worst, where nothing else is said. They are chosen by the fused table, else by the last one.

    Args:
        tables: Parquet files or folders of parts, in the order of the panels.
        ground_truth: COCO or LVIS annotations, or any other that `quorum import` knows.
        output: A new folder for the pictures, whose names begin with their rank, and index.html.
        images_folder: Folder with the picture files; without it marks are drawn on empty frames.
        image: Draw this image: its id or the name of its file; may be given several times.
        worst: Draw so many images with the most errors: wrong detections and missed objects.
        most_improved: Draw so many images where a fused table has the fewest errors beside its input of highest AP;
            without a fused table, the last beside the first.
        category: Look at this category only: its name or id.
        false_positives: Of the errors count only wrong detections.
        missed: Of the errors count only missed objects.
        iou_type: Boxes or masks.
        protocol: Which official evaluation decides what counts.
        iou: From which IoU on a detection is right.
        score: Hide detections of lower scores; by default those below the score of highest F1, for each table its own.
        size: Pixels of a panel's longer side.
        images: Look at these images only: a text file with an id per line, as `quorum split` writes.
        picture_format: Of the pictures.
    """
    from evaluation.pictures import show as judged
    from evaluation.pictures.writing import require_pictures, write_pictures
    from evaluation.protocol import Coco, Lvis
    from fusion.atomic import replacing
    from fusion.terminal import announcing_compilation, notes, progress_bar, stderr

    paths = some_tables(tables, "show")
    if output.exists():
        problem = "exists already, and a folder is not overwritten"
        raise InputError(output, problem, "Remove it or choose another name")
    _check_choice(image, worst, most_improved, false_positives, missed)
    truth = read_truth(ground_truth, images)
    chosen_protocol = Lvis(iou_type=iou_type) if protocol == "lvis" else Coco(iou_type=iou_type)
    members = [read_member(path, truth, images) for path in paths]
    with announcing_compilation():
        gallery = judged(
            members, truth,
            images_folder=images_folder, protocol=chosen_protocol, iou=iou, score=score, category=category, size=size,
        )  # fmt: skip
    chosen = _choice(gallery, image, worst, most_improved, false_positives, missed)
    if not chosen:
        subject = gallery.verdicts[gallery.subject].name
        raise InputError(subject, "no image is such as was asked for", "Name some with --image, or choose otherwise")
    require_pictures(gallery, chosen)
    with progress_bar() as bar, replacing(output, folder=True) as folder:
        task = bar.add_task("drawing", total=len(chosen))
        said = write_pictures(chosen, folder, picture_format, lambda done: bar.update(task, completed=done))
    if images_folder is None:
        notes(output, ["drawn on empty frames; --images-folder says where the pictures are"])
    elif said:
        notes(output, [f"{len(said):,} of {len(chosen):,} on empty frames: {said[0]}"])
    stderr.print(f"{output}: {len(chosen):,} pictures, and index.html to look through them", highlight=False)


def _check_choice(
    image: tuple[str, ...], worst: int | None, most_improved: int | None, false_positives: bool, missed: bool
) -> None:
    ways = [
        name
        for name, given in (
            ("--image", bool(image)),
            ("--worst", worst is not None),
            ("--most-improved", most_improved is not None),
        )
        if given
    ]
    kinds = [name for name, given in (("--false-positives", false_positives), ("--missed", missed)) if given]
    if len(ways) > 1 or len(kinds) > 1 or (kinds and ways and ways != ["--worst"]):
        raise InputError("show", f"{' and '.join(ways + kinds)} were given together", "Choose the images in one way")
    for name, number in (("--worst", worst), ("--most-improved", most_improved)):
        if number is not None and number < 1:
            raise InputError(f"option {name}", f"expected a number of pictures from 1 on, got {number}")


def _choice(
    gallery: "Gallery",
    image: tuple[str, ...],
    worst: int | None,
    most_improved: int | None,
    false_positives: bool,
    missed: bool,
) -> "list[Shown]":
    if image:
        return gallery.named(image)
    if most_improved is not None:
        return gallery.most_improved(most_improved)
    count = worst if worst is not None else _USUAL
    if false_positives:
        return gallery.false_positives(count)
    return gallery.missed(count) if missed else gallery.worst(count)

"""Commands `quorum import`."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from evaluation.belonging import origin_of
from evaluation.cli.common import NO_FILES, GroundTruthFile, OpenImagesFiles, Output, read_truth
from evaluation.coco_json import read_coco
from evaluation.submissions import read_open_images_submission
from fusion.coco_json import read_coco_results
from fusion.errors import InputError
from fusion.storage import write_table
from fusion.table import Metadata
from fusion.terminal import announcing_compilation, notes, progress_bar, stderr

__all__ = ["import_coco", "import_open_images"]


def import_coco(
    results: Path,
    /,
    *,
    output: Output,
    ground_truth: Annotated[Path | None, Parameter(name=("--ground-truth", "-g"))] = None,
    member: str | None = None,
    box_format: Literal["xywh", "xyxy"] = "xywh",
    categories: Literal["id", "name"] = "id",
    images: Literal["id", "file_name"] = "id",
    label_map: Path | None = None,
    category_offset: int = 0,
    image_offset: int = 0,
    unknown_images: Literal["error", "drop"] = "error",
    unknown_categories: Literal["error", "drop"] = "error",
    scores: Literal["any", "unit"] = "any",
    parts: int | None = None,
    split_name: Annotated[str | None, Parameter(name="--split")] = None,
) -> None:
    """Make a detection table from a COCO results JSON file.

    Args:
        results: A list of results, or a COCO-like file whose annotations carry scores.
        output: The table; with --parts a folder.
        ground_truth: Annotations to check image and category ids against.
        member: Name of the model; the output's name when not given.
        box_format: What `bbox` holds: xywh as COCO says, or xyxy corners.
        categories: What `category_id` holds: ids, or names that the ground truth or the label map knows.
        images: How images are joined with the ground truth: by id, or by file name (needs a file with an image list).
        label_map: A JSON or TOML file that maps the file's category ids or names to those of the ground truth.
        category_offset: Added to each category id.
        image_offset: Added to each image id.
        unknown_images: What to do with detections on images that the ground truth does not have.
        unknown_categories: The same for categories, and for labels that the label map does not have.
        scores: Accept any finite score, or only those in [0, 1].
        parts: Cut the table into this many files, for data sets that do not fit in memory.
        split_name: Name of the split, kept in the table.
    """
    truth = None if ground_truth is None else read_coco(ground_truth)
    if truth is not None:
        notes(ground_truth, truth.notes)
    with announcing_compilation(), progress_bar() as bar:
        task = bar.add_task(f"reading {results.name}", total=None)
        table = read_coco_results(
            results,
            vocabulary=None if truth is None else truth.vocabulary,
            box_format=box_format,
            categories=categories,
            images=images,
            label_map=None if label_map is None else _read_label_map(label_map),
            category_offset=category_offset,
            image_offset=image_offset,
            unknown_images=unknown_images,
            unknown_categories=unknown_categories,
            scores=scores,
            metadata=Metadata(
                member=member or output.stem,
                dataset=None if ground_truth is None else ground_truth.stem,
                split=split_name,
                **({} if truth is None else origin_of(truth)),
            ),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    write_table(table, output, parts=parts)
    notes(results, table.metadata.made_by["notes"])
    stderr.print(
        f"{output}: {len(table):,} detections on {len(table.image_ids):,} images, member {table.metadata.member}",
        highlight=False,
    )


def import_open_images(
    results: Path,
    /,
    *,
    output: Output,
    ground_truth: GroundTruthFile,
    member: str | None = None,
    parts: int | None = None,
    split_name: Annotated[str | None, Parameter(name="--split")] = None,
    open_images: OpenImagesFiles = NO_FILES,
) -> None:
    """Make a detection table from an Open Images result file: Kaggle's forms, or the official evaluator's CSV.

    Args:
        results: The CSV file.
        output: The table; with --parts a folder.
        ground_truth: CSV file of boxes, which tells the images and the labels' category ids.
        member: Name of the model; the output's name when not given.
        parts: Cut the table into this many files, for data sets that do not fit in memory.
        split_name: Name of the split, kept in the table.
        open_images: What goes with the CSV file of boxes; its class descriptions number the categories.
    """
    truth = read_truth(ground_truth, None, open_images)
    table = read_open_images_submission(results, images=truth, member=member or output.stem)
    table = table.with_metadata(dataset=ground_truth.stem, split=split_name, **origin_of(truth))
    write_table(table, output, parts=parts)
    notes(results, table.metadata.made_by["notes"])
    stderr.print(
        f"{output}: {len(table):,} detections on {len(table.image_ids):,} images, member {table.metadata.member}",
        highlight=False,
    )


def _read_label_map(path: Path) -> dict[int | str, int | str]:
    try:
        decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.json.decode
        labels: dict[int | str, int | str] = decode(path.read_bytes(), type=dict[str, int | str])
        return labels
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise InputError(
            path,
            f"expected a JSON or TOML file that maps labels to ids or names ({error})",
            'For example {"person": 1}',
        ) from error

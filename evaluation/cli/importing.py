"""Command `quorum import`."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from evaluation.cli.output import Output
from evaluation.cli.truth import NO_FILES, OpenImagesFiles, read_truth
from fusion.box_formats import BoxFormat
from fusion.coco_results.reading import Categories, Images

__all__ = ["import_results"]


def import_results(
    results: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    output: Output,
    ground_truth: Annotated[Path | None, Parameter(name=("--ground-truth", "-g"), allow_leading_hyphen=True)] = None,
    format: str | None = None,  # noqa: A002 - the word that users know it by
    member: str | None = None,
    box_format: BoxFormat | None = None,
    picture: str | None = None,
    categories: Categories | None = None,
    images: Images | None = None,
    label_map: str | None = None,
    category_offset: int = 0,
    image_offset: int = 0,
    as_is: Annotated[bool, Parameter(negative="")] = False,
    unknown_images: Literal["error", "drop"] = "error",
    unknown_categories: Literal["error", "drop"] = "error",
    scores: Literal["any", "unit"] = "any",
    parts: int | None = None,
    split_name: Annotated[str | None, Parameter(name="--split")] = None,
    open_images: OpenImagesFiles = NO_FILES,
) -> None:
    """Make a detection table from result files of any format, which is recognised.

    With a ground truth, a sample of confident boxes is compared with its objects. Where hardly any meets one, but most
    would if boxes, image ids or category ids meant something else, the import ends with the options that say so.

    Args:
        results: A file, or a folder of files; also compressed (gzip, zstd, bzip2, xz). A dash reads standard input.
        output: The table; with --parts a folder.
        ground_truth: Annotations of any format, to which images and categories are joined.
        format: What the results are in, where that is not to be recognised: coco, comp4, csv, kaggle, kitti, labelme,
            mot, openimages, scored, voc, yolo.
        member: Name of the model; the output's name when not given.
        box_format: What `bbox` holds; xywh, as COCO says, when not given. The normalized ones are shares of the
            picture's width and height, and those that begin with y have the vertical coordinate first.
        picture: What was done to the pictures that the detector saw, if boxes are of those: mirrored, flipped, a
            factor such as 0.5, or a size such as 640x480 (stretched), fit-1333x800 (scaled to these sides at most) or
            letterbox-640x640 (scaled, the rest filled on both sides).
        categories: What `category_id` holds: ids, or names that the ground truth or the label map knows; order counts
            the ground truth's categories from 0, coco80 COCO's 80 from 0 where the ground truth has COCO's own ids (1
            to 90), and coco91 is the other way round. Ids, or what the file's own names say, when not given.
        images: What `image_id` holds: ids, or file names; order counts the ground truth's images from 0 as it
            lists them, id_order by id, name_order by file name. Ids, or what the file's own names say, when not given.
        label_map: Which category of the file is which of the ground truth, by ids or names: 1=3,3=10,dog=18, JSON
            such as {"dog": 18}, or a JSON or TOML file that says it.
        category_offset: Added to each category id.
        image_offset: Added to each image id.
        as_is: Do not compare boxes with the objects of the ground truth.
        unknown_images: What to do with detections on images that the ground truth does not have.
        unknown_categories: The same for categories, and for labels that the label map does not have.
        scores: Accept any finite score, or only those in [0, 1].
        parts: Cut the table into this many files, for data sets that do not fit in memory: of a COCO list of any length
            one part is in memory at a time.
        split_name: Name of the split, kept in the table.
        open_images: What goes with a CSV file of boxes as ground truth.
    """
    from evaluation.belonging import origin_of
    from evaluation.results import deal_results, read_label_map, read_results
    from fusion.box_formats import Picture
    from fusion.coco_results import Reading
    from fusion.storage import check_parts, write_table
    from fusion.table import DetectionTable, Metadata
    from fusion.terminal import announcing_compilation, notes, progress_bar, stderr

    if parts is not None:
        check_parts(parts)
    truth = None if ground_truth is None else read_truth(ground_truth, None, open_images)
    reading = Reading(
        images=images,
        image_offset=image_offset,
        categories=categories,
        category_offset=category_offset,
        label_map=None if label_map is None else read_label_map(label_map),
        box_format=box_format,
        picture=None if picture is None else Picture.parse(picture),
    )
    with announcing_compilation(), progress_bar() as bar:
        task = bar.add_task(f"reading {results.name}", total=None)
        read = read_results if parts is None else partial(deal_results, output=output, parts=parts)
        found = read(
            results,
            truth,
            reading,
            format=format,
            as_is=as_is,
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
    if isinstance(found, DetectionTable):
        write_table(found, output)
        found = found.metadata, len(found), len(found.image_ids)
    metadata, rows, images_there = found
    notes(results, metadata.made_by["notes"])
    stderr.print(f"{output}: {rows:,} detections on {images_there:,} images, member {metadata.member}", highlight=False)

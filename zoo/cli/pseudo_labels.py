"""Command `quorum zoo pseudo-label`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fusion.printed_table import print_table
from fusion.terminal import notes, stderr
from zoo.cli.common import Output

__all__ = ["zoo_pseudo_label"]


def zoo_pseudo_label(
    table: Path,
    /,
    *,
    ground_truth: Annotated[Path, Parameter(name=("--ground-truth", "-g"))],
    output: Output,
    images: Path | None = None,
    score: float = 0.8,
    iou: float = 0.3,
    having_rare: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Make annotations of what a member finds, to learn from them or to ignore what is not annotated.

    Args:
        table: A detection table: of images without annotations, or of those that were trained on.
        ground_truth: Annotations whose categories these are, LVIS's with their frequency groups.
        output: A COCO file. --data coco:FILE,images/,name=pseudo,weight=0.5 learns from it; of images that were
            trained on --data lvis:FILE,images/,missing=PSEUDO ignores its boxes.
        images: A COCO file that lists the images, where they are not those of --ground-truth.
        score: The least score.
        iou: Without --images, boxes that overlap an annotated one this much are left out.
        having_rare: Keep only images with a label of a rare category.
    """
    from evaluation.annotations import read_ground_truth
    from evaluation.belonging import check_belongs
    from fusion.storage import read_table
    from zoo.pseudo_labels import pseudo_labels

    truth = read_ground_truth(ground_truth)
    listed = None if images is None else read_ground_truth(images)
    found = read_table(table)
    if listed is None:
        notes(table, check_belongs(table, found.metadata, truth))
    labels = pseudo_labels(found, truth, listed, score=score, iou=iou, rare=having_rare)
    labels.write(output)
    print_table(labels.counts())
    print_table(labels.by_category())
    kept = f"{len(labels.table):,} of {len(found):,} detections on {len(labels.table.image_ids):,} images"
    stderr.print(f"{output}: {kept}", highlight=False)

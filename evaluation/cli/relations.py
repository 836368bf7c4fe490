"""Command `quorum learn relations`."""

from pathlib import Path
from typing import Literal

from evaluation.cli.common import GroundTruthFile, Output, read_image_list, read_truth
from evaluation.learning import tuned_on
from evaluation.open_images_csv import read_open_images
from evaluation.relations import learn_relations as count_relations
from evaluation.relations import relations_table
from fusion.errors import InputError
from fusion.recipe_toml import write_learned
from fusion.terminal import announcing_compilation, notes, stderr, stdout

__all__ = ["learn_relations"]


def learn_relations(
    *,
    ground_truth: GroundTruthFile,
    output: Output,
    images: Path | None = None,
    image_labels: Path | None = None,
    class_descriptions: Path | None = None,
    hierarchy: Path | None = None,
    ioa: float = 0.9,
    picture: Path | None = None,
    top: int = 15,
) -> None:
    """Count which categories come together and which lie inside which.

    Args:
        ground_truth: COCO or LVIS annotations, or Open Images' CSV file of boxes.
        output: A TOML file for `quorum fuse --relations`, or for a recipe's cooccurrence and surround steps.
        images: Count only these images: a text file with an id per line.
        image_labels: Open Images: CSV of verified labels; a category that is present counts without a box, too.
        class_descriptions: Open Images: CSV of labels and names.
        hierarchy: Open Images: JSON class tree, for files that are not expanded yet.
        ioa: A box lies inside another, larger one when this share of its area does.
        picture: Also draw heat maps: a .png or .svg file.
        top: Number of pairs printed, and of categories drawn.
    """
    if ground_truth.suffix == ".csv":
        truth = read_open_images(
            boxes=ground_truth, image_labels=image_labels, class_descriptions=class_descriptions, hierarchy=hierarchy
        )
        notes(ground_truth, truth.notes)
        truth = truth if images is None else truth.subset(read_image_list(images, truth))
    elif image_labels or class_descriptions or hierarchy:
        problem = "image labels, class descriptions and a hierarchy belong to Open Images' CSV file of boxes"
        raise InputError(ground_truth, problem, "Leave them out, or give the CSV file as --ground-truth")
    else:
        truth = read_truth(ground_truth, images)
    with announcing_compilation():
        relations = count_relations(truth, ioa)
    write_learned(output, "relations", relations, tuned_on(truth, "relations between categories"))
    console = stdout()
    kinds: tuple[Literal["conditional", "inside", "around"], ...] = ("conditional", "inside", "around")
    for kind in kinds:
        console.print(relations_table(relations, kind, top))
    if picture is not None:
        # imported here: matplotlib takes half a second
        from evaluation.analysis.pictures import save_picture
        from evaluation.relation_pictures import relation_picture

        save_picture(relation_picture(relations, top), picture)
    pairs, inside = len(relations.together.first), len(relations.surrounding.inner)
    stderr.print(
        f"{output}: {pairs:,} pairs of categories that occur together, {inside:,} of which one lies inside the other",
        highlight=False,
    )

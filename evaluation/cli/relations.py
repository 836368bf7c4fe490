"""Command `quorum learn relations`."""

from pathlib import Path
from typing import Literal

from evaluation.cli.output import Output
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, read_truth
from fusion.errors import InputError

__all__ = ["learn_relations"]


def learn_relations(
    *,
    ground_truth: GroundTruthFile,
    output: Output,
    images: Path | None = None,
    open_images: OpenImagesFiles = NO_FILES,
    ioa: float = 0.9,
    picture: Path | None = None,
    top: int = 15,
) -> None:
    """Count which categories come together and which lie inside which.

    Args:
        ground_truth: Annotations of any format (docs/formats.md).
        output: A TOML file for `quorum fuse --relations`, or for a recipe's cooccurrence and surround steps.
        images: Count only these images: a text file with an id per line.
        open_images: What goes with a CSV file as ground truth; a category that is verified as present counts
            without a box, too.
        ioa: A box lies inside another, larger one when this share of its area does.
        picture: Also draw heat maps: a .png or .svg file.
        top: Number of pairs printed, and of categories drawn.
    """
    from evaluation.learning import tuned_on
    from evaluation.relations import learn_relations as count_relations
    from evaluation.relations import relations_table
    from fusion.checks import at_least
    from fusion.learned import write_learned
    from fusion.printed_table import print_table
    from fusion.terminal import announcing_compilation, stderr

    at_least("top", top, 1, whole=True)
    if picture is not None and picture.suffix not in (".png", ".svg"):
        raise InputError(picture, "expected the name of a .png or .svg file")
    truth = read_truth(ground_truth, images, open_images)
    with announcing_compilation():
        relations = count_relations(truth, ioa)
    write_learned(output, "relations", relations, tuned_on(truth, "relations between categories"))
    kinds: tuple[Literal["conditional", "inside", "around"], ...] = ("conditional", "inside", "around")
    for kind in kinds:
        print_table(relations_table(relations, kind, top))
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

"""Command `quorum learn experts`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evaluation.cli.compare import replicated
from evaluation.cli.members import some_tables
from evaluation.cli.output import Output
from evaluation.cli.protocols import IouType, ProtocolName, protocol_of
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, prepared_truth
from fusion.errors import InputError

if TYPE_CHECKING:
    from evaluation.statistics import Replicates

__all__ = ["learn_experts"]


def learn_experts(
    *tables: Path,
    ground_truth: GroundTruthFile,
    output: Output,
    rule: Literal["likely", "told"] = "likely",
    images: Path | None = None,
    iou_type: IouType = "bbox",
    protocol: ProtocolName = "coco",
    replicates: int = 1000,
    seed: int = 0,
    open_images: OpenImagesFiles = NO_FILES,
) -> None:
    """Choose which categories to give to which expert, where the gain is no luck.

    Args:
        tables: The base, which knows all categories, then the experts.
        ground_truth: Annotations of the split to learn on.
        output: A TOML file for `quorum fuse --method select_experts --experts`, or for a recipe's step of that name.
        rule: likely: better with a probability of 95 %, what is known of the expert's other categories included;
            told: better by the category's own interval.
        images: Learn only on these images: a text file with an id per line.
        iou_type: Boxes or masks.
        protocol: Which official evaluation.
        replicates: Draws of the paired bootstrap.
        seed: Of the draws.
        open_images: Further files of the ground truth.
    """
    from evaluation.experts import learn_experts as learn
    from evaluation.learning import tuned_on
    from fusion.learned import write_learned
    from fusion.printed_table import print_table
    from fusion.terminal import stderr

    truth, prepared = prepared_truth(ground_truth, protocol_of(protocol, iou_type), images, open_images)
    drawn: dict[str, Replicates] = {}
    for path in some_tables(tables, "learn experts"):
        measured = replicated(
            path, truth, prepared, images, replicates=replicates, seed=seed, groups=None, drawn=("AP",)
        )
        name = str(measured.table.metadata.member)
        if name in drawn:
            raise InputError(
                path, f"its member {name!r} is that of another table", "Rename one with --member at import"
            )
        drawn[name] = measured.entry
    base, *experts = drawn
    learned = learn((base, drawn[base]), {name: drawn[name] for name in experts}, rule=rule)
    note = f"categories for experts beside {base}"
    write_learned(output, "categories", learned.categories, tuned_on(truth, note), weights=learned.weights)
    print_table(learned.to_table())
    given = ", ".join(f"{len(ids)} to {name}" for name, ids in learned.categories.items())
    stderr.print(f"{output}: of {len(learned.rows)} categories {given}", highlight=False)

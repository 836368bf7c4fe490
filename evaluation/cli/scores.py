"""Command `quorum learn scores`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from evaluation.cli.groups import groups_of
from evaluation.cli.members import read_member, some_tables
from evaluation.cli.output import Output
from evaluation.cli.protocols import IouType, ProtocolName, protocol_of
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, prepared_truth
from fusion.method_plan import MethodOptions, method_plan

if TYPE_CHECKING:
    from fusion.recipe import Recipe
    from fusion.table import DetectionTable

__all__ = ["learn_scores"]

_NONE = MethodOptions()


def learn_scores(
    *tables: Path,
    ground_truth: GroundTruthFile,
    output: Output,
    method: str = "wbf",
    options: MethodOptions = _NONE,
    boxes: Path | None = None,
    calibration: Path | None = None,
    weights: Path | None = None,
    kind: Annotated[Literal["best", "logistic", "boosting"], Parameter(name="--model-kind")] = "best",
    images: Path | None = None,
    groups: Path | None = None,
    protocol: ProtocolName = "coco",
    iou_type: IouType = "bbox",
    open_images: OpenImagesFiles = NO_FILES,
) -> None:
    """Learn what a fused box is worth from what each member says of it.

    Args:
        tables: One table per member.
        ground_truth: Annotations of the split to learn on.
        output: A TOML file for `quorum fuse --scores`, with the same options as here, or for a recipe's rescore step.
        method: How the members are fused first.
        options: Parameters of the method.
        boxes: Before, correct each member's boxes (`quorum learn boxes`).
        calibration: Before, calibrate scores by these maps (`quorum learn calibration`).
        weights: Before, multiply scores by these weights (`quorum learn weights`).
        kind: logistic: for few images; boosting: gradient boosting; best: what has the higher AP on images held back.
        images: Learn only on these images: a text file with an id per line.
        groups: A CSV file with columns image_id and group: images of one group (a video, a day) are held back
            together. Taken from the file names, if they tell, when not given.
        protocol: Whose AP counts.
        iou_type: Boxes or masks.
        open_images: What goes with a CSV file as ground truth.
    """
    from evaluation.learning import tuned_on
    from evaluation.score_models import learn_scores as learn
    from fusion.learned import write_learned
    from fusion.printed_table import PrintedTable, print_table
    from fusion.terminal import announcing_compilation, stderr

    paths = some_tables(tables, "learn scores")
    plan = method_plan(method, options, boxes=boxes, calibration=calibration, weights=weights)
    with announcing_compilation():
        truth, prepared = prepared_truth(ground_truth, protocol_of(protocol, iou_type), images, open_images)
        labels = groups_of(truth, groups, "learn scores")
        members = [read_member(path, truth, images) for path in paths]
        voters = _as_fused(plan, members, sum(file is not None for file in (boxes, calibration, weights)))
        learned = learn(plan.fuse(members), voters, prepared, kind=kind, groups=labels)
    write_learned(output, "model", learned.model, tuned_on(truth, f"{learned.model.kind} scores after {method}"))
    rows = [[name, f"{100 * value:.2f}"] for name, value in learned.AP.items()]
    print_table(PrintedTable.of(("scores", "AP held back"), rows, left=1), "text")
    stderr.print(f"{output}: {learned.model.kind} scores of {len(learned.model.members)} members", highlight=False)


def _as_fused(plan: "Recipe", members: "list[DetectionTable]", steps: int) -> "list[DetectionTable]":
    """Return the members as the method takes them: after the first steps of its recipe, which are a chain."""
    from fusion.recipe import Recipe

    if not steps:
        return members
    before = [node.step for node in plan.nodes.values()][:steps]
    return [Recipe.chain(before).fuse(members)]

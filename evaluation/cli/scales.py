"""Command `quorum learn scales`."""

from pathlib import Path
from typing import Literal

from evaluation.cli.members import read_member, some_tables
from evaluation.cli.output import Output
from evaluation.cli.protocols import IouType
from evaluation.cli.truth import GroundTruthFile, read_truth
from fusion.errors import InputError

__all__ = ["learn_scales"]


def learn_scales(
    *tables: Path,
    ground_truth: GroundTruthFile,
    output: Output,
    sides: str = "32,96",
    figure: Literal["AP", "AR"] = "AP",
    builder: str = "ap_ratio",
    power: float = 1.0,
    limit: float = 0.0,
    rare_boost: float = 1.0,
    images: Path | None = None,
    iou_type: IouType = "bbox",
    protocol: Literal["coco", "lvis"] = "coco",
) -> None:
    """Learn which test-time view of a member to trust for which size of object.

    Args:
        tables: Tables with a view column, or one table per view.
        ground_truth: Annotations of the split to learn on.
        output: A TOML file for `quorum fuse --method merge_scales --scales`, or for a recipe's merge_scales step.
        sides: Bounds between size ranges, sides of squares in pixels: numbers with commas between.
        figure: What is measured of each view in each range: average precision or recall.
        builder: ap_ratio, ap_share, rank_linear, top_r or uniform: how figures become weights.
        power: Sharpens above 1, flattens below.
        limit: A weight below this becomes 0: the view is not used for such sizes.
        rare_boost: Factor on the scores of categories that the ground truth calls rare (LVIS).
        images: Learn only on these images: a text file with an id per line.
        iou_type: Boxes or masks.
        protocol: Which official evaluation.
    """
    from evaluation.learning import tuned_on
    from evaluation.protocol import Coco, Lvis
    from evaluation.scales import learn_scales as learn
    from fusion.learned import write_learned
    from fusion.printed_table import print_table
    from fusion.terminal import announcing_compilation, stderr
    from fusion.views import split_views

    truth = read_truth(ground_truth, images)
    with announcing_compilation():
        learned = learn(
            split_views([read_member(path, truth, images) for path in some_tables(tables, "learn scales")]),
            truth,
            protocol=Lvis(iou_type=iou_type) if protocol == "lvis" else Coco(iou_type=iou_type),
            sides=_sides(sides),
            figure=figure,
            builder=builder,
            power=power,
            limit=limit,
            rare_boost=rare_boost,
        )
    write_learned(output, "scales", learned.scales, tuned_on(truth, f"scales by {figure}, {builder}"))
    print_table(learned.to_table())
    stderr.print(
        f"{output}: weights of {len(learned.views)} views in {len(learned.objects)} size ranges", highlight=False
    )


def _sides(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(side) for side in text.split(",") if text.strip())
    except ValueError:
        raise InputError("option --sides", f"expected numbers with commas between, got {text!r}") from None

"""Learning the members' weights on images with ground truth."""

from collections.abc import Iterable, Sequence

import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.open_images import PreparedOpenImages
from evaluation.prepared import Prepared, prepare
from fusion.errors import InputError
from fusion.learned import TunedOn
from fusion.table import DetectionTable
from fusion.weights import build_weights

__all__ = ["average_precisions", "learn_weights", "tuned_on"]

_NAMES = 16  # of categories that a file says by name what it was learned on


def learn_weights(
    tables: Sequence[DetectionTable],
    ground_truth: GroundTruth | Prepared | PreparedOpenImages,
    builder: str = "ap_ratio",
    *,
    power: float = 1.0,
    floor: float = 0.0,
    t0: float = 0.5,
    r: int = 1,
) -> dict[str, dict[int, float]]:
    """Learn a weight per member and category from the members' AP (mmfruit-openimages2019, sec. 4.1).

    Args:
        tables: One table per member, with names; images that the ground truth does not have are an error.
        ground_truth: The split to learn on. Prepared, it brings the protocol whose AP counts; else COCO's for boxes.
        builder: See `fusion.weights.build_weights`, as for the other options.
        power: Sharpens or flattens.
        floor: Smallest ratio or share.
        t0: Weight of the last rank.
        r: Number of members kept per category.

    Returns:
        Member name -> category id -> weight.

    Raises:
        InputError: If two tables share a name or one has none, or an option is out of range.
    """
    prepared = prepare(ground_truth) if isinstance(ground_truth, GroundTruth) else ground_truth
    figures = ((table.metadata.member, prepared.evaluate(table).average_precision_per_category) for table in tables)
    ap = average_precisions(figures, prepared.ground_truth)
    return build_weights(ap, builder, power=power, floor=floor, t0=t0, r=r)


def average_precisions(
    figures: Iterable[tuple[str | None, np.ndarray]], ground_truth: GroundTruth
) -> dict[str, dict[int, float]]:
    """Return members' AP as `fusion.weights.build_weights` takes it: member name -> category id -> AP.

    Args:
        figures: Of each member its name, and float64 [k], its AP of each category of the ground truth.
        ground_truth: What they were measured on.

    Raises:
        InputError: If two members share a name or one has none.
    """
    ap: dict[str, dict[int, float]] = {}
    for number, (name, values) in enumerate(figures):
        if name is None or name in ap:
            problem = "has no member name" if name is None else f"has the name {name!r} of another table"
            raise InputError(
                f"table {number} (counted from 0)", problem, "Give each its own name with --member at import"
            )
        ap[name] = dict(zip(ground_truth.category_id.tolist(), values.tolist(), strict=True))
    return ap


def tuned_on(ground_truth: GroundTruth, note: str) -> TunedOn:
    """Say in a recipe's terms what data something was learned on."""
    return TunedOn(
        fingerprint=ground_truth.fingerprint,
        images=len(ground_truth.image_id),
        note=note,
        categories=ground_truth.categories_fingerprint,
        category_names={str(key): name for key, name, _ in ground_truth.category_sketch.sample[:_NAMES] if name},
    )

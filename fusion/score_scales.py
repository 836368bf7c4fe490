"""Whether members' scores are on scales that can be compared, looked at before the work is done."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fusion.arrow_arrays import numpy_array
from fusion.errors import Warned
from fusion.recipe import ALL, OUTPUT, Recipe
from fusion.steps import name_of
from fusion.steps.calibrate import Calibrate
from fusion.steps.reweight import Reweight
from fusion.table import DetectionTable

__all__ = ["Scale", "scale_notes", "scales_of", "unlike"]

FACTOR = 5.0
"""How far the middles of two members' best scores may be apart."""

ABOVE = 1.5
"""What the middle of a member's best scores is above if they are no probabilities; some go a little over 1."""

_FEW = 5  # images, of fewer the middle says little
_REMEDY = (
    "Bring them onto one scale first: `quorum learn calibration TABLES -g GROUND_TRUTH -o calibration.toml`, then "
    "`--calibration calibration.toml` (in a recipe, a calibrate step)"
)


class Scale(NamedTuple):
    """What is looked at of a member's scores.

    Attributes:
        images: Number of images it has detections in.
        middle: Median over these of the best score in the image, which does not depend on where a member cuts its
            detections off; NaN without images.
        low: Lowest score.
        high: Highest score.
    """

    images: int
    middle: float
    low: float
    high: float


# What is known of scores that a map has made, whatever it was learned on: nothing is said of how high they are.
_CALIBRATED = Scale(_FEW, float("nan"), 0.0, 1.0)


def scales_of(table: DetectionTable) -> dict[str, Scale]:
    """Return the scale of each member of a table: of itself, or of those in its `member` column."""
    score = np.asarray(table.score, np.float64)
    image = np.repeat(np.arange(len(table.image_ids)), np.diff(table.image_start))
    if table.member is None:
        groups = {str(table.metadata.member): np.ones(len(score), bool)}
    else:
        codes = numpy_array(table.member.indices)
        groups = {str(name): codes == code for code, name in enumerate(table.member.dictionary.to_pylist())}
    made_calibrated = 'step = "calibrate"' in str(table.metadata.made_by.get("recipe", ""))
    return {name: _CALIBRATED if made_calibrated else _scale(score[own], image[own]) for name, own in groups.items()}


def unlike(scales: Mapping[str, Scale]) -> str | None:
    """Say which members are on other scales of scores than the others; None where all are alike.

    A member is on another scale if it has negative scores where others have none (logits), if the best
    score of its images is above `ABOVE` in the middle (the median) where that of others is not (percent), or if that
    middle is more than `FACTOR` times that of another, both counted on some images.

    Args:
        scales: Of each member.
    """
    told = {name: scale for name, scale in scales.items() if scale.images}
    negative = [name for name, scale in told.items() if scale.low < 0]
    if negative and len(negative) < len(told):
        other = next(name for name in told if name not in negative)
        first = told[negative[0]]
        return f"{negative[0]} has scores from {first.low:.3g} to {first.high:.3g}, {other} has none below 0"
    middle = {name: scale.middle for name, scale in told.items() if not np.isnan(scale.middle)}
    above = [name for name, value in middle.items() if value > ABOVE]
    if above and len(above) < len(told):
        other = next(name for name in told if name not in above)
        compared = f"{middle[other]:.3g} for {other}" if other in middle else f"{other} is calibrated"
        return f"the best score of an image is {middle[above[0]]:.3g} for {above[0]} (the median), and {compared}"
    middle = {name: value for name, value in middle.items() if told[name].images >= _FEW}
    if len(middle) < 2 or negative:
        return None
    low, high = min(middle, key=middle.__getitem__), max(middle, key=middle.__getitem__)
    if middle[high] <= FACTOR * middle[low]:
        return None
    return f"the best score of an image is {middle[high]:.3g} for {high} (the median), and {middle[low]:.3g} for {low}"


def scale_notes(recipe: Recipe, tables: Sequence[DetectionTable]) -> tuple[str, ...]:
    """Return notes on the steps of a recipe that compare or average scores of unlike scales.

    A step says with a class attribute `compares_scores = False` that it does neither. What a calibration
    has mapped is alike; one number per member (reweight) moves its scale.

    Args:
        recipe: The steps.
        tables: The members, or enough of each to tell.
    """
    own = {str(table.metadata.member): scales_of(table) for table in tables}
    reached: dict[str, dict[str, Scale]] = {}
    found: dict[str, list[str]] = {}
    for name, node in recipe.nodes.items():
        scales: dict[str, Scale] = {}
        for source in node.inputs:
            for given in own.values() if source == ALL else [reached.get(source, own.get(source, {}))]:
                scales |= given
        said = unlike(scales) if getattr(node.step, "compares_scores", True) else None
        if said is not None:
            found.setdefault(said, []).append(name)
        if isinstance(node.step, Calibrate):
            scales = dict.fromkeys(scales, _CALIBRATED)
        elif isinstance(node.step, Reweight):
            scales = {member: _moved(scale, node.step.weights.get(member)) for member, scale in scales.items()}
        reached[name] = scales
    steps = {said: name_of(recipe.nodes[nodes[0]].step) for said, nodes in found.items()}
    return tuple(
        Warned(
            f"scores on unlike scales are compared by {steps[said]}"
            f"{'' if nodes[0] == OUTPUT else f' (node {nodes[0]})'}: {said}. {_REMEDY}"
        )
        for said, nodes in found.items()
    )


def _scale(score: np.ndarray, image: np.ndarray) -> Scale:
    if not len(score):
        return Scale(0, float("nan"), float("nan"), float("nan"))
    best = np.maximum.reduceat(score, np.flatnonzero(np.diff(image, prepend=-1)))
    return Scale(len(best), float(np.median(best)), float(score.min()), float(score.max()))


def _moved(scale: Scale, weight: object) -> Scale:
    """Return a member's scale after all of its scores were multiplied by a number."""
    if not isinstance(weight, (int, float)) or weight <= 0:
        return scale
    return scale._replace(middle=scale.middle * weight, low=scale.low * weight, high=scale.high * weight)

"""Whether scores mean what they say."""

import numpy as np

from evaluation.curves import reliability
from evaluation.report.blocks import Chart, Choice, PageBlock, Series, Words
from evaluation.report.material import Material
from evaluation.report.page import Section

__all__ = ["section"]

_BINS = 25
_ENDS = np.array([0.0, 1.0])
_X, _Y = "score", "share that is right at IoU .50"


def section(material: Material) -> Section | None:
    """Return the share of right detections over their score, of all entries whose scores are probabilities."""
    if not material.results:
        return None
    found = {name: reliability(result.judged, _BINS) for name, result in material.results.items()}
    honest = [Series("score = precision", _ENDS, _ENDS, dashed=True)]
    charts: dict[str, PageBlock] = {}
    together, odd = [], []
    for place, (name, one) in enumerate(found.items()):
        if one.probabilities:
            together.append(Series(f"{name} (ECE {one.gap:.3f})", one.score, one.share, marks=True, colour=place))
        else:
            odd.append(name)
            line = Series(name, one.score, one.share, marks=True, colour=place)
            charts[name] = Chart(f"Share of right detections over score, {name}", _X, _Y, [line])
    if together:
        chart = Chart("Share of right detections over score", _X, _Y, [*together, *honest])
        charts = {"scores in [0, 1]": chart, **charts}
    blocks: list[PageBlock] = [Choice("Entries", charts) if len(charts) > 1 else next(iter(charts.values()))]
    if odd:
        blocks.insert(0, Words([f"Scores leave [0, 1], and are no probabilities: {', '.join(odd)}."]))
    return Section("Calibration", blocks, "On the dashed line scores are what they say.")

"""The figures of the official protocols and ours beside them: each is one entry of `FIGURES`, and stands nowhere else.

Results, tables, comparisons, leaderboards, road maps, cards and the command line's `--figures` go by this list.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evaluation.measures import AtScore, AveragePrecision, CategoryMean, Measure, Ranges, Recall
from evaluation.protocol import Coco, Lvis, OpenImages
from fusion.errors import InputError, option

__all__ = [
    "ASPECT",
    "FIGURES",
    "Figure",
    "Place",
    "at_score",
    "by_default",
    "choose",
    "figure_named",
    "figure_of",
    "names_of",
]

AnyProtocol = Coco | Lvis | OpenImages
Place = Literal["stats", "categories", "entries", "steps", "summary"]
"""Where figures are shown: among the official numbers of `evaluate`, in its table per category, of entries that are
compared or ranked and on cards, in a road map, in the summary of an analysis."""

_ALL = ("coco", "lvis", "openimages")
_COCO = ("coco", "lvis")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure.

    Attributes:
        name: As it is typed and printed; {cap} stands for each of the protocol's caps.
        title: What it is.
        measure: How it follows from the arrays of a result.
        protocols: Which have it.
        places: Where it is shown when nobody chooses.
        part: What of the data it is confined to, for sentences; "" for all.
        form: How it is printed.
        share: Whether it is a share, which tables of points print as hundredths, and -1 where there is none.
    """

    name: str
    title: str
    measure: Measure
    protocols: tuple[str, ...] = _COCO
    places: tuple[Place, ...] = ()
    part: str = ""
    form: str = ".4f"
    share: bool = True

    @property
    def drawn(self) -> bool:
        """Whether it has replicates, and so an interval: the score that is best has none."""
        return self.share

    def text(self, value: float | None) -> str:
        """Return a value as it is printed; a dash where there is none."""
        return "-" if self.missing(value) else format(value, self.form)

    def points(self, value: float | None, sign: str = "") -> str:
        """Return a value in points of 0 to 100, with `sign` "+" as a difference; a dash where there is none."""
        if value is None or math.isnan(value):
            return "-"
        return f"{100 * value:{sign}.2f}" if self.share else format(value, sign + self.form)

    def missing(self, value: float | None) -> bool:
        """Whether a value stands for none."""
        return value is None or math.isnan(value) or (self.share and value < 0)


def _tall_square_wide(w: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Width to height up to 2:3, between, from 3:2 on; as with areas, bounds belong to both sides."""
    return np.stack((3 * w <= 2 * h, (3 * w >= 2 * h) & (3 * h >= 2 * w), 3 * h <= 2 * w))


ASPECT = Ranges(("tall", "square", "wide"), _tall_square_wide)

FIGURES: tuple[Figure, ...] = (
    Figure(
        name="AP",
        title="average precision, mean over categories and IoU thresholds",
        measure=AveragePrecision(),
        places=("stats", "categories", "entries", "steps", "summary"),
    ),
    Figure(
        name="AP",
        title="area under the curve of precision over recall, mean over categories",
        measure=CategoryMean("ap"),
        protocols=("openimages",),
        places=("stats", "categories", "entries", "steps", "summary"),
    ),
    Figure(
        name="AP50",
        title="AP at IoU .5",
        measure=AveragePrecision(iou=0.5),
        places=("stats", "categories", "entries", "steps", "summary"),
    ),
    Figure(
        name="AP75",
        title="AP at IoU .75",
        measure=AveragePrecision(iou=0.75),
        places=("stats", "categories", "entries", "steps"),
    ),
    Figure(
        name="APs",
        title="AP of objects of an area up to 32 x 32 pixels",
        measure=AveragePrecision(place=1),
        places=("stats", "categories", "entries"),
        part="small objects",
    ),
    Figure(
        name="APm",
        title="AP of objects of an area from 32 x 32 to 96 x 96 pixels",
        measure=AveragePrecision(place=2),
        places=("stats", "categories", "entries"),
        part="medium objects",
    ),
    Figure(
        name="APl",
        title="AP of objects of an area from 96 x 96 pixels",
        measure=AveragePrecision(place=3),
        places=("stats", "categories", "entries"),
        part="large objects",
    ),
    Figure(
        name="APr",
        title="AP of rare categories",
        measure=AveragePrecision(group="r"),
        protocols=("lvis",),
        places=("stats", "entries", "steps"),
        part="rare categories",
    ),
    Figure(
        name="APc",
        title="AP of common categories",
        measure=AveragePrecision(group="c"),
        protocols=("lvis",),
        places=("stats", "entries", "steps"),
        part="common categories",
    ),
    Figure(
        name="APf",
        title="AP of frequent categories",
        measure=AveragePrecision(group="f"),
        protocols=("lvis",),
        places=("stats", "entries", "steps"),
        part="frequent categories",
    ),
    Figure(
        name="AR{cap}",
        title="highest recall with that many detections, mean over categories and IoU thresholds",
        measure=Recall(),
        places=("stats",),
    ),
    Figure(name="ARs", title="highest recall of small objects", measure=Recall(place=1), places=("stats",)),
    Figure(name="ARm", title="highest recall of medium objects", measure=Recall(place=2), places=("stats",)),
    Figure(name="ARl", title="highest recall of large objects", measure=Recall(place=3), places=("stats",)),
    Figure(name="AR", title="highest recall at the largest cap", measure=Recall(), places=("categories",)),
    Figure(
        name="recall",
        title="highest recall, mean over categories",
        measure=CategoryMean("recall"),
        protocols=("openimages",),
        places=("categories",),
    ),
    Figure(
        name="APtall",
        title="AP of objects with a box of width to height up to 2:3",
        measure=AveragePrecision(ranges=ASPECT, place=0),
        part="tall objects",
    ),
    Figure(
        name="APsquare",
        title="AP of objects with a box of width to height from 2:3 to 3:2",
        measure=AveragePrecision(ranges=ASPECT, place=1),
        part="square objects",
    ),
    Figure(
        name="APwide",
        title="AP of objects with a box of width to height from 3:2 on",
        measure=AveragePrecision(ranges=ASPECT, place=2),
        part="wide objects",
    ),
    Figure(name="F1", title="highest F1 at IoU .5 of all scores", measure=AtScore("f1"), protocols=_ALL),
    Figure(name="P", title="precision at the score of highest F1", measure=AtScore("precision"), protocols=_ALL),
    Figure(name="R", title="recall at the score of highest F1", measure=AtScore("recall"), protocols=_ALL),
    Figure(
        name="threshold",
        title="the score of highest F1",
        measure=AtScore("score"),
        protocols=_ALL,
        form=".4g",
        share=False,
    ),
)


def figure_named(name: str, protocol: AnyProtocol | None = None) -> Figure | None:
    """Return a figure; None where there is none of that name.

    Args:
        name: As in the list, or with a number: AR10, F1@0.3 (at that score instead of the best).
        protocol: Whose figure; any protocol's by default.
    """
    base, at, number = name.partition("@")
    cap = re.fullmatch("AR([1-9][0-9]{0,8})", base)
    for figure in FIGURES:
        if protocol is not None and protocol.name not in figure.protocols:
            continue
        if cap and figure.name == "AR{cap}" and not at and isinstance(figure.measure, Recall):
            own = int(cap[1])
            if protocol is None or own in _caps(protocol):
                return replace(figure, name=name, measure=replace(figure.measure, cap=own))
        elif figure.name == base and not at:
            return figure
        elif figure.name == base and isinstance(figure.measure, AtScore) and figure.share and _number(number):
            return replace(
                figure,
                name=name,
                title=f"{figure.measure.what.replace('f1', 'F1')} at score {number}",
                measure=replace(figure.measure, score=float(number)),
            )
    return None


def figure_of(name: str) -> Figure:
    """Return a figure that is known to be there, of whatever protocol.

    Raises:
        KeyError: If it is not.
    """
    figure = figure_named(name)
    if figure is None:
        raise KeyError(name)
    return figure


def names_of(protocol: AnyProtocol) -> tuple[str, ...]:
    """Return the names of all figures that a protocol has, in order."""
    names = []
    for figure in FIGURES:
        if protocol.name in figure.protocols:
            caps = _caps(protocol) if "{cap}" in figure.name else (None,)
            names += [figure.name.format(cap=cap) for cap in caps]
    return tuple(names)


def by_default(protocol: AnyProtocol, place: Place) -> tuple[str, ...]:
    """Return the names of the figures that are shown somewhere when nobody chooses."""
    figures = ((name, figure_named(name, protocol)) for name in names_of(protocol))
    return tuple(name for name, figure in figures if figure is not None and place in figure.places)


def choose(names: Iterable[str], protocol: AnyProtocol) -> tuple[Figure, ...]:
    """Return the figures of some names.

    Raises:
        InputError: If there is none of a name, or no name at all.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        raise InputError(f"option {option('figures')}", "expected names of figures, got none", _offer(protocol))
    found = [(name, figure_named(name, protocol)) for name in wanted]
    for name, figure in found:
        if figure is None:
            what = f"expected figures of {option('protocol', protocol.name)}, got {name!r}"
            raise InputError(f"option {option('figures')}", what, _offer(protocol))
    return tuple(figure for _, figure in found if figure is not None)


def at_score(names: Iterable[str], score: float) -> tuple[str, ...]:
    """Return names with what is measured at the best score measured at this one instead."""
    changed = []
    for name in names:
        figure = figure_named(name)
        ours = figure is not None and isinstance(figure.measure, AtScore) and figure.measure.score is None
        changed += [f"{name}@{score!r}"] if ours and figure is not None and figure.share else [] if ours else [name]
    return tuple(changed)


def _offer(protocol: AnyProtocol) -> str:
    return f"There are {', '.join(names_of(protocol))}; F1, P and R also at a score, such as F1@0.3"


def _caps(protocol: AnyProtocol) -> tuple[int, ...]:
    return () if isinstance(protocol, OpenImages) else protocol.caps


def _number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False

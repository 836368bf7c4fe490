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

_COCO = ("coco", "lvis")


@dataclass(frozen=True)
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

_MAIN: tuple[Place, ...] = ("stats", "categories", "entries", "steps")
_SIZE: tuple[Place, ...] = ("stats", "categories", "entries")
_GROUP: tuple[Place, ...] = ("stats", "entries", "steps")
_LVIS, _OPEN, _ALL = ("lvis",), ("openimages",), ("coco", "lvis", "openimages")

FIGURES: tuple[Figure, ...] = (
    Figure(
        "AP",
        "average precision, mean over categories and IoU thresholds",
        AveragePrecision(),
        places=(*_MAIN, "summary"),
    ),
    Figure(
        "AP",
        "area under the curve of precision over recall, mean over categories",
        CategoryMean("ap"),
        _OPEN,
        (*_MAIN, "summary"),
    ),
    Figure("AP50", "AP at IoU .5", AveragePrecision(iou=0.5), places=(*_MAIN, "summary")),
    Figure("AP75", "AP at IoU .75", AveragePrecision(iou=0.75), places=_MAIN),
    Figure(
        "APs",
        "AP of objects of an area up to 32 x 32 pixels",
        AveragePrecision(place=1),
        places=_SIZE,
        part="small objects",
    ),
    Figure(
        "APm",
        "AP of objects of an area from 32 x 32 to 96 x 96 pixels",
        AveragePrecision(place=2),
        places=_SIZE,
        part="medium objects",
    ),
    Figure(
        "APl",
        "AP of objects of an area from 96 x 96 pixels",
        AveragePrecision(place=3),
        places=_SIZE,
        part="large objects",
    ),
    Figure("APr", "AP of rare categories", AveragePrecision(group="r"), _LVIS, _GROUP, "rare categories"),
    Figure("APc", "AP of common categories", AveragePrecision(group="c"), _LVIS, _GROUP, "common categories"),
    Figure("APf", "AP of frequent categories", AveragePrecision(group="f"), _LVIS, _GROUP, "frequent categories"),
    Figure(
        "AR{cap}",
        "highest recall with that many detections, mean over categories and IoU thresholds",
        Recall(),
        places=("stats",),
    ),
    Figure("ARs", "highest recall of small objects", Recall(place=1), places=("stats",)),
    Figure("ARm", "highest recall of medium objects", Recall(place=2), places=("stats",)),
    Figure("ARl", "highest recall of large objects", Recall(place=3), places=("stats",)),
    Figure("AR", "highest recall at the largest cap", Recall(), places=("categories",)),
    Figure("recall", "highest recall, mean over categories", CategoryMean("recall"), _OPEN, ("categories",)),
    Figure(
        "APtall",
        "AP of objects with a box of width to height up to 2:3",
        AveragePrecision(ASPECT, 0),
        part="tall objects",
    ),
    Figure(
        "APsquare",
        "AP of objects with a box of width to height from 2:3 to 3:2",
        AveragePrecision(ASPECT, 1),
        part="square objects",
    ),
    Figure(
        "APwide",
        "AP of objects with a box of width to height from 3:2 on",
        AveragePrecision(ASPECT, 2),
        part="wide objects",
    ),
    Figure("F1", "highest F1 at IoU .5 of all scores", AtScore("f1"), _ALL),
    Figure("P", "precision at the score of highest F1", AtScore("precision"), _ALL),
    Figure("R", "recall at the score of highest F1", AtScore("recall"), _ALL),
    Figure("threshold", "the score of highest F1", AtScore("score"), _ALL, form=".4g", share=False),
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

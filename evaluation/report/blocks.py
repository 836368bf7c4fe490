"""What a section of the page consists of; the template has a macro, and the script a function, for each kind."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from fusion.printed_table import PrintedColumn, PrintedTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Chart",
    "Choice",
    "Intervals",
    "Matrix",
    "PageBlock",
    "PagePicture",
    "PagePictures",
    "Series",
    "Sortable",
    "Threshold",
    "Thresholds",
    "Words",
    "table_of_frame",
]


@dataclass(frozen=True)
class PageBlock:
    """Something to show.

    Attributes:
        kind: Names the macro and the function.
    """

    kind: ClassVar[str]

    def data(self) -> dict[str, Any] | None:
        """Return what the script needs, ready for JSON; None where the page's HTML is all."""
        return None


@dataclass(frozen=True)
class Words(PageBlock):
    """Sentences.

    Attributes:
        lines: The sentences.
        as_written: Whether lines and spaces are kept.
        folded: What stands there until somebody asks for them; "" where they are shown at once.
    """

    kind = "words"
    lines: Sequence[str]
    as_written: bool = False
    folded: str = ""


@dataclass(frozen=True)
class Sortable(PageBlock):
    """A table that is sorted by a click on a head, and filtered where it is long.

    Attributes:
        table: Cells that are numbers are sorted as numbers, at full precision.
        title: What stands above it.
        bars: Heads of columns whose numbers are shown as bars as well, all on one scale.
    """

    kind = "table"
    table: PrintedTable
    title: str = ""
    bars: Sequence[str] = ()

    def data(self) -> dict[str, Any]:
        """Return heads and raw cells."""
        return {"heads": self.table.heads, "rows": self.table.rows, "bars": list(self.bars)}


@dataclass(frozen=True)
class Choice(PageBlock):
    """Blocks of which one is shown, by its name; the first at the beginning."""

    kind = "choice"
    label: str
    blocks: Mapping[str, PageBlock]


class Series(NamedTuple):
    """A line of a chart.

    Attributes:
        name: In the legend.
        x: Of each point.
        y: Of each point; NaN leaves a gap.
        marks: Whether points are marked.
        line: Whether they are joined.
        steps: Whether a value holds down to the next x.
        dashed: Whether it is a line to compare with.
        colour: Number of its colour, the same for one entry in all charts; its place by default.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    marks: bool = False
    line: bool = True
    steps: bool = False
    dashed: bool = False
    colour: int | None = None


@dataclass(frozen=True)
class Chart(PageBlock):
    """Lines over an axis, with the values under the pointer."""

    kind = "chart"
    title: str
    x: str
    y: str
    series: Sequence[Series]
    y_range: tuple[float, float] | None = (0.0, 1.0)

    def data(self) -> dict[str, Any]:
        """Return the lines."""
        lines = [one._asdict() | {"x": _plain(one.x), "y": _plain(one.y)} for one in self.series]
        return {"x": self.x, "y": self.y, "range": self.y_range, "series": lines}


@dataclass(frozen=True)
class Intervals(PageBlock):
    """Values with their intervals, below one another on one axis; rows are (name, value, low, high)."""

    kind = "intervals"
    title: str
    x: str
    rows: Sequence[tuple[str, float, float, float]]

    def data(self) -> dict[str, Any]:
        """Return the rows."""
        return {"x": self.x, "rows": [list(row) for row in self.rows]}


@dataclass(frozen=True)
class Matrix(PageBlock):
    """A table of numbers whose cells are shaded by their share of the highest one.

    Attributes:
        title: What stands above it.
        rows: Names.
        columns: Names.
        values: float [rows, columns]; NaN stays empty.
        form: How a value is printed.
        corner: What rows and columns are.
    """

    kind = "matrix"
    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: np.ndarray
    form: str = ".2f"
    corner: str = ""

    @property
    def cells(self) -> list[list[tuple[str, float]]]:
        """Text and shade, of 0 to 1, of each cell."""
        highest = np.nanmax(self.values, initial=0.0) or 1.0
        return [
            [("", 0.0) if value != value else (format(value, self.form), max(value / highest, 0.0)) for value in row]
            for row in self.values.tolist()
        ]


class Threshold(NamedTuple):
    """Counts of the detections of at least some score.

    Attributes:
        score: float64 [s], descending: scores that there are, some of them.
        right: float64 [s], true positives.
        wrong: float64 [s], false positives.
        objects: How many there are to find.
        best: Place of the score of highest F1; -1 without one.
    """

    score: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    objects: float
    best: int


@dataclass(frozen=True)
class Thresholds(PageBlock):
    """A slider over scores that moves precision, recall, F1 and the counts.

    Attributes:
        entries: By entry and category, "" for all of them.
    """

    kind = "thresholds"
    entries: Mapping[str, Mapping[str, Threshold]]

    def data(self) -> dict[str, Any]:
        """Return the curves."""
        arrays = ("score", "right", "wrong")
        entries = {
            entry: {
                category: one._asdict() | {name: _plain(getattr(one, name)) for name in arrays}
                for category, one in curves.items()
            }
            for entry, curves in self.entries.items()
        }
        return {"entries": entries}


@dataclass(frozen=True)
class PagePicture(PageBlock):
    """A picture that is part of the page.

    Attributes:
        content: Of the file.
        media_type: Such as "image/png".
        alternative: What a reader who does not see it is told.
        caption: What stands below it.
        light: Whether it needs a light ground.
    """

    kind = "picture"
    content: bytes = field(repr=False)
    media_type: str
    alternative: str
    caption: str = ""
    light: bool = False

    @property
    def source(self) -> str:
        """The content as an address."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode()}"


@dataclass(frozen=True)
class PagePictures(PageBlock):
    """Pictures below one another."""

    kind = "pictures"
    pictures: Sequence[PagePicture]


def table_of_frame(frame: "pd.DataFrame") -> PrintedTable:
    """Make a table of a frame: shares with four digits, counts with commas."""
    kinds = {"f": ".4f", "i": ",", "u": ","}
    columns = [
        PrintedColumn(str(name), kinds.get(frame[name].dtype.kind, ""), right=frame[name].dtype.kind in kinds)
        for name in frame.columns
    ]
    return PrintedTable(columns, [list(row) for row in zip(*(frame[n].tolist() for n in frame.columns), strict=True)])


def _plain(values: np.ndarray) -> list[float | int]:
    """Return numbers, whole ones without a point, which is shorter."""
    return [int(value) if value == value and value.is_integer() else value for value in values.astype(float).tolist()]

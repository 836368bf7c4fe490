"""Road maps: what each added step of a recipe brings, as the reports' tables print it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluation.comparison import Difference, compare
from evaluation.figures import by_default, figure_of
from evaluation.open_images import PreparedOpenImages
from evaluation.prepared import Prepared
from evaluation.statistics import Replicates, bootstrap
from fusion.errors import InputError
from fusion.printed_table import PrintedTable
from fusion.ready import Milestone
from fusion.recipe import ALL, OUTPUT, Node, Recipe
from fusion.table import DetectionTable

__all__ = ["RoadMap", "Row", "road_map", "stages_of"]

_INTERVAL = "95 % interval"


@dataclass(frozen=True, eq=False)
class Row:
    """One row.

    Attributes:
        added: What is added to the row before.
        replicates: Figures with their intervals.
        gain: Against the row before, paired over images; None in the first row.
        total: Against the first row; None in the first row.
        gains: Against the row before, by name of figure, AP included; empty in the first row.
    """

    added: str
    replicates: Replicates
    gain: Difference | None
    total: Difference | None
    gains: Mapping[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RoadMap:
    """Rows from the best member to the whole recipe.

    Like Table 4 of megdetv2-coco2019 and Table 3 of mmfruit-openimages2019.
    """

    rows: tuple[Row, ...]

    def to_table(self) -> PrintedTable:
        """Return the table to print, in points: figures, then what a row gains in AP and in others that were drawn."""
        first = self.rows[0].replicates
        names = list(first.observed)
        gained = [name for name in first.values if name != "AP"]
        heads = ["added", *names, "gain", _INTERVAL, "since the first row"]
        for name in gained:
            heads += [f"gain in {name}", _INTERVAL]
        table = PrintedTable.of(heads, ())
        for number, row in enumerate(self.rows):
            own = [figure_of(name).points(row.replicates.observed[name]) for name in names]
            total = "" if row.total is None else _gain("AP", row.total)[0]
            others = [cell for name in gained for cell in _gain(name, row.gains.get(name))]
            table.rows.append([("+ " if number > 1 else "") + row.added, *own, *_gain("AP", row.gain), total, *others])
        return table

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the rows, ready for JSON at full precision; None for what cannot be known."""
        return [
            {
                "added": row.added,
                "figures": {k: None if v != v else v for k, v in row.replicates.observed.items()},
                "gains": {name: gain.to_dict() for name, gain in row.gains.items()},
                "since_the_first_row": None if row.total is None else row.total.to_dict(),
            }
            for row in self.rows
        ]


def _gain(name: str, gain: Difference | None) -> tuple[str, str]:
    figure = figure_of(name)
    if gain is None:
        return "", ""
    interval = "-" if gain.low != gain.low else f"{figure.points(gain.low, '+')} to {figure.points(gain.high, '+')}"
    return figure.points(gain.value, "+"), interval


def road_map(
    stages: Sequence[Milestone],
    tables: Sequence[DetectionTable],
    prepared: Prepared | PreparedOpenImages,
    *,
    replicates: int = 1000,
    seed: int = 0,
    figures: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> RoadMap:
    """Measure each stage of a recipe, beside the best member.

    Args:
        stages: Simplest first.
        tables: The members on the images of the ground truth.
        prepared: Ground truth.
        replicates: Draws of the paired bootstrap.
        seed: Of the draws.
        figures: Names, of `evaluation.figures`, of what is measured beside AP; their gains have intervals as well. By
            default the protocol's, those by size left out, as mere numbers.
        progress: Told what is measured.
    """
    if not stages or not tables:
        raise InputError("ablation", "expected at least one stage and one table")

    def measured(what: str, table: DetectionTable) -> Replicates:
        if progress is not None:
            progress(what)
        shown = by_default(prepared.protocol, "steps") if figures is None else figures
        drawn = ("AP",) if figures is None else None
        return bootstrap(prepared.evaluate(table), replicates=replicates, seed=seed, figures=shown, drawn=drawn)

    alone = [float(prepared.evaluate(table).AP) for table in tables]
    best = max(range(len(tables)), key=lambda number: alone[number])
    name = tables[best].metadata.member or f"table{best}"
    entries = [(f"best member: {name}", measured(name, tables[best]))]
    entries += [(stage.added, measured(stage.added, stage.recipe.fuse(tables))) for stage in stages]
    rows = [Row(*entries[0], None, None)]
    for number, (added, entry) in enumerate(entries[1:], 1):
        gains = compare(entries[number - 1][1], entry).figures
        total = compare(entries[0][1], entry).figures["AP"]
        rows.append(Row(added, entry, gains["AP"], total, gains))
    return RoadMap(tuple(rows))


def stages_of(recipe: Recipe, where: object = "recipe") -> list[Milestone]:
    """Cut a recipe into stages: after each of its nodes.

    Args:
        recipe: A chain: every node takes all tables, the node before it, or both.
        where: What to call it in an error message.

    Raises:
        InputError: If it is a tree, whose nodes have no order to be added in.
    """
    names = list(recipe.nodes)
    stages = []
    for number, name in enumerate(names):
        node = recipe.nodes[name]
        allowed = {ALL, *names[max(number - 1, 0) : number]}
        if not set(node.inputs) <= allowed:
            raise InputError(
                where,
                f"node {name!r} takes {', '.join(map(repr, node.inputs))}: only a chain of nodes has stages",
                "Write a recipe for each row, and give them in order",
            )
        nodes = _renamed(((key, recipe.nodes[key]) for key in names[: number + 1]), name)
        stages.append(Milestone(type(node.step).__name__.lower(), Recipe(nodes, recipe.tuned_on)))
    return stages


def _renamed(nodes: Iterable[tuple[str, Node]], last: str) -> dict[str, Node]:
    """Return nodes of which the last is the output."""
    return {OUTPUT if name == last else name: node for name, node in nodes}

"""Road maps: what each added step of a recipe brings, as the reports' tables print it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.comparison import Difference, compare
from evaluation.open_images import PreparedOpenImages
from evaluation.prepared import Prepared
from evaluation.statistics import Replicates, bootstrap
from fusion.errors import InputError
from fusion.ready import Stage
from fusion.recipe import ALL, OUTPUT, Node, Recipe
from fusion.table import DetectionTable

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["RoadMap", "Row", "road_map", "stages_of"]


@dataclass(frozen=True, eq=False)
class Row:
    """One row.

    Attributes:
        added: What is added to the row before.
        replicates: Figures with their intervals.
        gain: Against the row before, paired over images; None in the first row.
        total: Against the first row; None in the first row.
    """

    added: str
    replicates: Replicates
    gain: Difference | None
    total: Difference | None


@dataclass(frozen=True, eq=False)
class RoadMap:
    """Rows from the best member to the whole recipe.

    Like Table 4 of megdetv2-coco2019 and Table 3 of mmfruit-openimages2019.
    """

    rows: tuple[Row, ...]

    def to_rich(self) -> "Table":
        """Return the table for the terminal; AP in points."""
        from rich.table import Table

        names, lines = self._lines()
        table = Table(*names)
        for line in lines:
            table.add_row(*line)
        return table

    def to_markdown(self) -> str:
        """Return the table as Markdown."""
        names, lines = self._lines()
        rows = [names, ["---"] * len(names), *lines]
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def _lines(self) -> tuple[list[str], list[list[str]]]:
        figures = [name for name in self.rows[0].replicates.observed if name in _SHOWN]
        names = ["added", *figures, "gain", "95 % interval", "since the first row"]
        lines = []
        for number, row in enumerate(self.rows):
            own = [f"{100 * row.replicates.observed[name]:.2f}" for name in figures]
            gain, interval, total = "", "", ""
            if row.gain is not None and row.total is not None:
                gain = f"{100 * row.gain.value:+.2f}"
                interval = f"{100 * row.gain.low:+.2f} to {100 * row.gain.high:+.2f}"
                total = f"{100 * row.total.value:+.2f}"
            lines.append([("+ " if number > 1 else "") + row.added, *own, gain, interval, total])
        return names, lines


_SHOWN = ("AP", "AP50", "AP75", "APr", "APc", "APf")


def road_map(
    stages: Sequence[Stage],
    tables: Sequence[DetectionTable],
    prepared: Prepared | PreparedOpenImages,
    *,
    replicates: int = 1000,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> RoadMap:
    """Measure each stage of a recipe, beside the best member.

    Args:
        stages: Simplest first.
        tables: The members on the images of the ground truth.
        prepared: Ground truth.
        replicates: Draws of the paired bootstrap.
        seed: Of the draws.
        progress: Told what is measured.
    """
    if not stages or not tables:
        raise InputError("ablation", "expected at least one stage and one table")

    def measured(what: str, table: DetectionTable) -> Replicates:
        if progress is not None:
            progress(what)
        return bootstrap(prepared.evaluate(table), replicates=replicates, seed=seed, sizes=False)

    figures = [float(prepared.evaluate(table).AP) for table in tables]
    best = max(range(len(tables)), key=lambda number: figures[number])
    name = tables[best].metadata.member or f"table{best}"
    entries = [(f"best member: {name}", measured(name, tables[best]))]
    entries += [(stage.added, measured(stage.added, stage.recipe.fuse(tables))) for stage in stages]
    rows = [Row(*entries[0], None, None)]
    for number, (added, entry) in enumerate(entries[1:], 1):
        gain = compare(entries[number - 1][1], entry).figures["AP"]
        total = compare(entries[0][1], entry).figures["AP"]
        rows.append(Row(added, entry, gain, total))
    return RoadMap(tuple(rows))


def stages_of(recipe: Recipe, where: object = "recipe") -> list[Stage]:
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
        stages.append(Stage(type(node.step).__name__.lower(), Recipe(nodes, recipe.tuned_on)))
    return stages


def _renamed(nodes: Iterable[tuple[str, Node]], last: str) -> dict[str, Node]:
    """Return nodes of which the last is the output."""
    return {OUTPUT if name == last else name: node for name, node in nodes}

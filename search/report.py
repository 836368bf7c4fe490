"""The report of a search: a Markdown page with the tree as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from evaluation.figures import figure_of
from evaluation.score_models import KINDS
from evaluation.statistics import Replicates
from fusion.atomic import replacing
from fusion.printed_table import PrintedTable
from search.answer import Answer, Change, NodeAp, front
from search.genome import Genome, Operator, used_members
from search.study import Study
from search.tree import Tree, depths, key, leaves

__all__ = ["draw_tree", "outline", "report_text", "write_report"]


def report_text(answer: Answer, study: Study) -> str:
    """Return the report as Markdown."""
    problem = answer.problem
    splits = list(answer.rivals)
    verify = splits[1]
    honest = splits[-1]
    own = answer.rivals[honest][0].replicates.intervals["AP"]
    lines = [
        "# Auto-ensemble search",
        "",
        f"**AP {100 * own.value:.2f} on the {honest} split** "
        f"(95 % interval {100 * own.low:.2f} to {100 * own.high:.2f}), "
        f"by {len(used_members(answer.genome))} of {len(problem.names)} members. This is the figure to quote: "
        "the search split's is the best of many trials on it.",
        "",
    ]
    if answer.alarm:
        lines += [f"> **Over-fitting suspected**: {answer.alarm}.", ""]
    lines += ["## Gains", "", *_gains(answer), ""]
    lines += ["## Figures", "", *_figures(answer), ""]
    if answer.stacks:
        lines += ["## Learned scores", "", *_stacks(answer), ""]
    lines += ["## The tree", "", "![tree](tree.svg)", "", "```", outline(answer), "```", ""]
    lines += ["AP of each node on the " + verify + " split:", "", *_nodes(answer), ""]
    lines += [_depth_sentence(answer), ""]
    lines += ["## What each member adds", "", *_changes("member left out", answer.without_member), ""]
    lines += ["## What each gene adds", "", *_changes("gene at its default", answer.genes), ""]
    lines += ["## AP against number of members", "", *_front(study), ""]
    lines += ["## The search", "", *_history(answer, study)]
    return "\n".join(lines) + "\n"


def write_report(answer: Answer, study: Study, folder: Path) -> None:
    """Write report.md and tree.svg."""
    with replacing(folder / "tree.svg") as temporary:
        draw_tree(answer, temporary)
    with replacing(folder / "report.md") as temporary:
        temporary.write_text(report_text(answer, study), encoding="utf-8")


def outline(answer: Answer) -> str:
    """Return the tree as indented text, the root first."""
    genome, names = answer.genome, answer.problem.names
    aps = {tuple(sorted(node.members)): node.ap for node in answer.nodes}

    def lines(tree: Tree, depth: int) -> Iterable[str]:
        ap = f"AP {100 * aps[tuple(sorted(leaves(tree)))]:.2f}"
        if isinstance(tree, int):
            weight = genome.weights[tree]
            yield f"{'  ' * depth}{names[tree]}  {ap}" + ("" if weight == 1 else f"  weight {weight:.2f}")
            return
        yield f"{'  ' * depth}{_operator(genome.operators[key(tree) - 1])}  {ap}"
        for child in tree:
            yield from lines(child, depth + 1)

    return "\n".join(lines(genome.pruned or 0, 0))


def draw_tree(answer: Answer, path: Path) -> None:
    """Draw the tree, members on the left and the root on the right, as SVG."""
    from matplotlib.figure import Figure

    genome, names = answer.genome, answer.problem.names
    tree = genome.pruned or 0
    order = leaves(tree)
    aps = {tuple(sorted(node.members)): node.ap for node in answer.nodes}
    height = max(depths(tree).values(), default=0)
    figure = Figure(figsize=(3.6 + 1.9 * max(height, 1), 1.0 + 0.62 * len(order)), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()

    def place(part: Tree) -> tuple[float, float]:
        if isinstance(part, int):
            y = float(-order.index(part))
            weight = genome.weights[part]
            text = f"{names[part]}\nAP {100 * aps[(part,)]:.2f}" + ("" if weight == 1 else f", weight {weight:.2f}")
            axes.text(-0.06, y, text, ha="right", va="center", fontsize=9)
            return 0.0, y
        points = [place(child) for child in part]
        x, y = max(point[0] for point in points) + 1.0, sum(point[1] for point in points) / 2
        for child_x, child_y in points:
            axes.plot([child_x, x, x], [child_y, child_y, y], color="0.55", lw=1.2, zorder=1)
        label = _operator(genome.operators[key(part) - 1]).replace(", ", "\n", 1)
        box = {"boxstyle": "round,pad=0.3", "fc": "#e8f1fa", "ec": "#35618f"}
        ap = aps[tuple(sorted(leaves(part)))]
        axes.text(x, y, f"{label}\nAP {100 * ap:.2f}", ha="center", va="center", fontsize=8, bbox=box, zorder=2)
        return x, y

    x, _ = place(tree)
    axes.set_xlim(-1.3, x + 0.7)
    axes.set_ylim(-len(order) + 0.4, 0.6)
    axes.set_title(f"Members, operators and AP on the {list(answer.rivals)[1]} split", fontsize=10, loc="left")
    figure.savefig(path, format="svg")


def _operator(operator: Operator) -> str:
    parts = [operator.kind]
    if operator.kind not in ("concat", "soft_nms"):
        parts.append(f"IoU {operator.iou:.2f}")
    if operator.part != "both":
        side, _, used = operator.part.partition("_")
        parts.append(f"only {used} of the {side}")
    if operator.factor < 1:
        parts.append(f"lone boxes x {operator.factor:.2f}")
    return ", ".join(parts)


def _gains(answer: Answer) -> list[str]:
    return [*_lines(answer.to_table()), "", "AP points with 95 % intervals of the paired bootstrap over images."]


def _figures(answer: Answer) -> list[str]:
    split, rivals = list(answer.rivals.items())[-1]
    names = list(rivals[0].replicates.observed)
    table = PrintedTable.of((f"on the {split} split", *names), (), left=1)
    for rival in rivals:
        table.rows.append([rival.name, *(_with_interval(rival.replicates, name) for name in names)])
    return _lines(table)


def _with_interval(replicates: Replicates, name: str) -> str:
    figure, found = figure_of(name), replicates.intervals.get(name)
    text = figure.points(replicates.observed[name])
    if found is None or found.low != found.low:
        return text
    return f"{text} ({figure.points(found.low)} to {figure.points(found.high)})"


def _lines(table: PrintedTable) -> list[str]:
    return table.to_markdown().splitlines()


def _nodes(answer: Answer) -> list[str]:
    table = PrintedTable.of(("node", "depth", "AP"), ())
    ordered: Sequence[NodeAp] = sorted(answer.nodes, key=lambda node: (node.depth, -node.ap))
    for node in ordered:
        members = ", ".join(answer.problem.names[leaf] for leaf in node.members)
        what = members if node.operator is None else f"{_operator(node.operator)} over {members}"
        table.rows.append([what, node.depth, f"{100 * node.ap:.2f}"])
    return _lines(table)


def _depth_sentence(answer: Answer) -> str:
    correlation, p = answer.depth_correlation
    if correlation != correlation:
        return "Too few members for a statement on AP and depth."
    verdict = "holds here" if correlation < 0 and p < 0.05 else "cannot be told here"
    return (
        f'"Members with lower AP sit deeper" {verdict}: Spearman\'s correlation of AP and depth is {correlation:.2f} '
        f"(p = {p:.3f})."
    )


def _changes(what: str, changes: Sequence[Change]) -> list[str]:
    ordered = sorted(changes, key=lambda change: -change.loss)
    rows = [[change.what, f"{100 * change.ap:.2f}", f"{100 * change.loss:+.2f}"] for change in ordered]
    return _lines(PrintedTable.of((what, "AP", "loss"), rows)) if rows else ["Nothing to report."]


def _front(study: Study) -> list[str]:
    rows = [[str(_count(trial.genome)), f"{100 * trial.outcome.value:.2f}"] for trial in front(study)]
    return _lines(PrintedTable.of(("members", "AP on the search split"), rows))


def _stacks(answer: Answer) -> list[str]:
    """Candidates that scores were learned for, the first candidate first."""
    rows = []
    for one in answer.stacks:
        tree = one.genome.pruned or 0
        members = _count(one.genome)
        root = (
            "one member" if isinstance(tree, int) else f"{_operator(one.genome.operators[key(tree) - 1])} at the root"
        )
        taken = "; the answer" if one is answer.stack else ""
        own, *kinds = (f"{100 * one.AP[kind]:.2f}" if kind in one.AP else "" for kind in ("own", *KINDS[1:]))
        rows.append([f"{members} of {len(answer.problem.names)} members, {root}{taken}", own, *kinds])
    table = PrintedTable.of(("candidate", "own scores", *(f"{kind} scores" for kind in KINDS[1:])), rows)
    text = "AP on the search split, each image by what was learned without its fold. The first one "
    text += "was there before trials were."
    told = "the answer is a candidate with its own scores: those learned are not better by a standard error"
    if answer.stack is not None:
        told = f"boxes of the answer are scored by a learned model ({answer.stack.model.kind})"
        told += "; below, scores are the tree's own"
    return [f"{told[0].upper()}{told[1:]}.", "", *_lines(table), "", text]


def _treatments(answer: Answer) -> str:
    """What flat fusions gave by what members go through; "" where only one was tried."""
    told = [f"{100 * value:.2f} {name}" for name, value in answer.problem.preparation.AP.items()]
    return f" (flat fusions on parts held back: AP {', '.join(told)})" if told else ""


def _count(genome: Genome) -> int:
    return len(used_members(genome))


def _history(answer: Answer, study: Study) -> list[str]:
    done, pruned = len(study.trials), sum(trial.outcome.pruned for trial in study.trials)
    seconds = sum(trial.outcome.seconds for trial in study.trials)
    correlation = answer.rank_correlation
    lines = [
        f"- {done:,} trials, {pruned:,} of them given up early, {seconds:,.0f} s of work; it ended because "
        f"{study.stopped}.",
        f"- members are fused {answer.problem.preparation.treatment}{_treatments(answer)}.",
        f"- mode {study.settings.mode}, seed {study.settings.seed}; the answer came up as trial {answer.trial.number}, "
        f"in phase {answer.trial.phase}.",
    ]
    if correlation == correlation:
        lines.append(f"- the best {len(answer.top)} trials on the two splits: rank correlation {correlation:.2f}.")
    return lines

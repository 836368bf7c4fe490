"""What is said of an answer in words and lines: for the terminal, the Markdown report and the HTML page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO

from search.answer import Answer
from search.genome import Operator
from search.study import Study
from search.tree import Tree, depths, key, leaves

__all__ = ["depth_sentence", "draw_tree", "history_sentences", "operator_words", "outline"]


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
        yield f"{'  ' * depth}{operator_words(genome.operators[key(tree) - 1])}  {ap}"
        for child in tree:
            yield from lines(child, depth + 1)

    return "\n".join(lines(genome.pruned or 0, 0))


def draw_tree(answer: Answer, path: Path | IO[bytes]) -> None:
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
        label = operator_words(genome.operators[key(part) - 1]).replace(", ", "\n", 1)
        box = {"boxstyle": "round,pad=0.3", "fc": "#e8f1fa", "ec": "#35618f"}
        ap = aps[tuple(sorted(leaves(part)))]
        axes.text(x, y, f"{label}\nAP {100 * ap:.2f}", ha="center", va="center", fontsize=8, bbox=box, zorder=2)
        return x, y

    x, _ = place(tree)
    axes.set_xlim(-1.3, x + 0.7)
    axes.set_ylim(-len(order) + 0.4, 0.6)
    axes.set_title(f"Members, operators and AP on the {list(answer.rivals)[1]} split", fontsize=10, loc="left")
    figure.savefig(path, format="svg")


def operator_words(operator: Operator) -> str:
    """Name an operator and what it is not by default."""
    parts = [operator.kind]
    if operator.kind not in ("concat", "soft_nms"):
        parts.append(f"IoU {operator.iou:.2f}")
    if operator.part != "both":
        side, _, used = operator.part.partition("_")
        parts.append(f"only {used} of the {side}")
    if operator.factor < 1:
        parts.append(f"lone boxes x {operator.factor:.2f}")
    return ", ".join(parts)


def depth_sentence(answer: Answer) -> str:
    """Say whether members of lower AP sit deeper in the tree."""
    correlation, p = answer.depth_correlation
    if correlation != correlation:
        return "Too few members for a statement on AP and depth."
    verdict = "holds here" if correlation < 0 and p < 0.05 else "cannot be told here"
    return (
        f'"Members with lower AP sit deeper" {verdict}: Spearman\'s correlation of AP and depth is {correlation:.2f} '
        f"(p = {p:.3f})."
    )


def history_sentences(answer: Answer, study: Study) -> list[str]:
    """Say how the search went, a sentence each."""
    done, pruned = len(study.trials), sum(trial.outcome.pruned for trial in study.trials)
    seconds = sum(trial.outcome.seconds for trial in study.trials)
    correlation = answer.rank_correlation
    lines = [
        f"{done:,} trials, {pruned:,} of them given up early, {seconds:,.0f} s of work; it ended because "
        f"{study.stopped}.",
        f"members are fused {answer.problem.preparation.treatment}{_treatments(answer)}.",
        f"mode {study.settings.mode}, seed {study.settings.seed}; the answer came up as trial {answer.trial.number}, "
        f"in phase {answer.trial.phase}.",
    ]
    if correlation == correlation:
        lines.append(f"the best {len(answer.top)} trials on the two splits: rank correlation {correlation:.2f}.")
    return lines


def _treatments(answer: Answer) -> str:
    """What flat fusions gave by what members go through; "" where only one was tried."""
    told = [f"{100 * value:.2f} {name}" for name, value in answer.problem.preparation.AP.items()]
    return f" (flat fusions on parts held back: AP {', '.join(told)})" if told else ""

"""The report of a search: a Markdown page with the tree as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evaluation.figures import figure_of
from evaluation.score_models import KINDS
from evaluation.statistics import Replicates
from fusion.atomic import replacing
from fusion.printed_table import PrintedTable
from search.answer import Answer, front
from search.dissection import Change, NodeAp
from search.genome import Genome, used_members
from search.page import search_page
from search.study import Study
from search.telling import depth_sentence, draw_tree, history_sentences, operator_words, outline
from search.tree import key

__all__ = ["report_text", "write_report"]


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
    lines += [depth_sentence(answer), ""]
    lines += ["## What each member adds", "", *_changes("member left out", answer.without_member), ""]
    lines += ["## What each gene adds", "", *_changes("gene at its default", answer.genes), ""]
    lines += ["## AP against number of members", "", *_front(study), ""]
    lines += ["## The search", "", *(f"- {line}" for line in history_sentences(answer, study))]
    return "\n".join(lines) + "\n"


def write_report(answer: Answer, study: Study, folder: Path) -> None:
    """Write report.md, tree.svg and report.html."""
    with replacing(folder / "tree.svg") as temporary:
        draw_tree(answer, temporary)
    with replacing(folder / "report.md") as temporary:
        temporary.write_text(report_text(answer, study), encoding="utf-8")
    search_page(answer, study).write(folder / "report.html")


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
        what = members if node.operator is None else f"{operator_words(node.operator)} over {members}"
        table.rows.append([what, node.depth, f"{100 * node.ap:.2f}"])
    return _lines(table)


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
            "one member"
            if isinstance(tree, int)
            else f"{operator_words(one.genome.operators[key(tree) - 1])} at the root"
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


def _count(genome: Genome) -> int:
    return len(used_members(genome))

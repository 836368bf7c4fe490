"""Pictures of what the members of an ensemble share and what each brings."""

from typing import TYPE_CHECKING

import numpy as np

from evaluation.analysis.contributions import Contributions
from evaluation.analysis.members import Members
from evaluation.analysis.pictures import heat_map, new_figure, shortened
from evaluation.plots import PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["agreement_picture", "bound_picture", "contribution_picture", "finder_picture"]


def agreement_picture(members: Members) -> "Figure":
    """Draw how many of the objects that either of two members finds are found by both."""
    _, jaccard, _ = members.agreement()
    count = len(members.names)
    names = shortened(members.names)
    side = max(4.0, 0.42 * count + 2.4)
    figure = new_figure(side + 0.9, side)
    axes = figure.subplots()
    texts = [["" if value != value else f"{100 * value:.0f}" for value in row] for row in jaccard.tolist()]
    off = jaccard[~np.eye(count, dtype=bool)]
    low = float(np.nanmin(off)) if off.size and not np.isnan(off).all() else 0.0
    heat_map(axes, 100 * jaccard, names, names, texts, "found by both, % of found by either", 100 * low, 100.0)
    axes.set_title(f"Agreement of members at IoU {members.iou:g}", loc="left")
    return figure


def finder_picture(members: Members) -> "Figure":
    """Draw how many members find an object, and how many objects only one of them finds."""
    counts = members.to_finder_frame()["objects"].to_numpy()
    only = (members.found & (members.finders == 1)).sum(axis=1)
    order = np.argsort(-only, kind="stable")
    count = len(members.names)
    figure = new_figure(10, max(3.2, 0.26 * count + 1.6))
    left, right = figure.subplots(1, 2)
    colours = [PALETTE[3]] + [PALETTE[0]] * count
    bars = left.bar(range(count + 1), counts, color=colours)
    if count <= 12:
        left.bar_label(bars, [f"{value:,}" for value in counts], fontsize=8)
        left.set_xticks(range(count + 1))
    left.margins(y=0.12)
    left.set(xlabel="members that find an object", ylabel="objects")
    left.set_title(f"{counts[0]:,} of {counts.sum():,} objects are found by nobody", loc="left", fontsize=10)
    bars = right.barh(range(count), only[order], color=PALETTE[2])
    right.bar_label(bars, [f" {value:,}" for value in only[order]], fontsize=8)
    right.set_yticks(range(count), shortened([members.names[m] for m in order]), fontsize=8)
    right.invert_yaxis()
    right.margins(x=0.14, y=0.02)
    right.set(xlabel="objects")
    right.set_title(f"Found by this member alone, IoU {members.iou:g}", loc="left", fontsize=10)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def contribution_picture(contributions: Contributions) -> "Figure":
    """Draw what the fusion loses without each member, and what the member adds to the best of the others."""
    losses, gains = 100 * contributions.leave_one_out, 100 * contributions.add_one
    order = np.argsort(-np.nan_to_num(losses, nan=np.inf), kind="stable")
    count = len(order)
    figure = new_figure(10, max(3.0, 0.3 * count + 1.6))
    names = shortened([contributions.names[m] for m in order])
    left, right = figure.subplots(1, 2, sharey=True)
    panels = (
        (left, losses[order], f"Loss of the fusion ({100 * contributions.fused_AP:.1f}) without the member"),
        (right, gains[order], "Gain of the best other member by fusing it in"),
    )
    for axes, values, title in panels:
        colours = [PALETTE[0] if value >= 0 else PALETTE[3] for value in values]
        bars = axes.barh(range(count), np.nan_to_num(values), color=colours)
        axes.bar_label(bars, [" n/a" if v != v else f" {v:+.2f} " for v in values], fontsize=8)
        axes.axvline(0, color="black", lw=0.8)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("AP points")
        axes.margins(x=0.25, y=0.02)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_yticks(range(count), names, fontsize=8)
    left.invert_yaxis()
    return figure


def bound_picture(members: Members, contributions: Contributions | None) -> "Figure":
    """Draw AP of each member, of their fusion, and the bounds of choosing among their boxes."""
    lines = [(name, result.AP, PALETTE[0]) for name, result in zip(members.names, members.results, strict=True)]
    lines.sort(key=lambda line: -line[1])
    bounds = [
        ("best member per category", members.best_per_category_AP, PALETTE[2]),
        ("best box per object (oracle)", members.oracle_AP, PALETTE[4]),
    ]
    if contributions is not None:
        bounds.insert(0, ("fusion of all", contributions.fused_AP, PALETTE[1]))
    lines += bounds
    figure = new_figure(7.5, 0.28 * len(lines) + 1.4)
    axes = figure.subplots()
    bars = axes.barh(range(len(lines)), [100 * line[1] for line in lines], color=[line[2] for line in lines])
    axes.bar_label(bars, [f" {100 * line[1]:.1f}" for line in lines], fontsize=8)
    axes.set_yticks(range(len(lines)), shortened([line[0] for line in lines], 30), fontsize=9)
    axes.invert_yaxis()
    axes.margins(y=0.02)
    axes.set(xlim=(0, 115 * max(line[1] for line in lines)), xlabel="AP points")
    axes.set_title("Members, their fusion, and what their boxes allow", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure

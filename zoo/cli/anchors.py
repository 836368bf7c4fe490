"""Command `quorum zoo anchors`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fusion.errors import InputError
from fusion.printed_table import Cell, PrintedColumn, PrintedTable, print_table
from fusion.terminal import stderr
from zoo.cli.common import need_torch

__all__ = ["zoo_anchors"]

_MOST = 20_000


def zoo_anchors(
    *,
    data: Annotated[tuple[str, ...], Parameter(negative="")],
    anchor_scales: int = 3,
    anchor_ratios: int = 6,
    short: int = 800,
    long: int = 1333,
    picture: Path | None = None,
    seed: int = 0,
) -> None:
    """Find the anchors that suit a data set, by k-means over the shapes of its objects.

    Args:
        data: What is to be trained on, as for quorum train; of more than 20,000 objects so many are drawn.
        anchor_scales: Number of scales.
        anchor_ratios: Number of ratios, each of which comes with every scale.
        short: Short side of the images in training (data.short).
        long: Their longest side (data.long).
        picture: Also draw objects and anchors: a .png or .svg file.
        seed: Of the draw and of the starts of k-means.
    """
    need_torch("zoo anchors")
    from fusion.checks import at_least
    from zoo.anchors import PRESETS, anchor_picture, cluster, overlaps, shapes_of
    from zoo.data import open_data

    for name, value in (
        ("anchor_scales", anchor_scales),
        ("anchor_ratios", anchor_ratios),
        ("short", short),
        ("long", long),
    ):
        at_least(name, value, 1, whole=True)
    if picture is not None and picture.suffix not in (".png", ".svg"):
        raise InputError(picture, "expected the name of a .png or .svg file")
    shapes = shapes_of(open_data(*data), short, long, _MOST, seed)
    found = cluster(shapes, anchor_scales, anchor_ratios, seed)
    print_table(found.table())
    heads = ("anchors", "at each place", "mean IoU", "objects at IoU >= 0.7")
    rows: list[list[Cell]] = []
    for name, grid in {"found here": found.grid, **PRESETS}.items():
        best = overlaps(shapes, grid).max(axis=1)
        rows.append([name, len(grid.scales) * len(grid.ratios), float(best.mean()), float((best >= 0.7).mean())])
    forms = ("", "d", ".3f", ".1%")
    columns = [PrintedColumn(head, form, right=bool(form)) for head, form in zip(heads, forms, strict=True)]
    print_table(PrintedTable(columns, rows, "an object and its nearest anchor, with the same centre"))
    if picture is not None:
        from evaluation.analysis.pictures import save_picture

        save_picture(anchor_picture(shapes, found), picture)
    sides, shares = (",".join(f"{value:.3g}" for value in own) for own in (found.grid.scales, found.grid.ratios))
    stderr.print(
        f"{len(shapes):,} objects. To train with these: --set 'rpn.scales=[{sides}]' --set 'rpn.ratios=[{shares}]'",
        highlight=False,
    )

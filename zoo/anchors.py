"""Anchors that suit a data set, by k-means (mmfruit-openimages2019, sec. 5.5); presets of the reports."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fusion.errors import InputError, option
from fusion.printed_table import Cell, PrintedColumn, PrintedTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo.data import Data

__all__ = ["PRESETS", "AnchorGrid", "ShapeClusters", "anchor_picture", "cluster", "overlaps", "shapes_of"]


@dataclass(frozen=True, kw_only=True)
class AnchorGrid:
    """The anchors of one position: every scale with every ratio.

    Attributes:
        scales: Sides (roots of areas) in strides of their level.
        ratios: Heights over widths.
    """

    scales: tuple[float, ...]
    ratios: tuple[float, ...]


PRESETS = {
    "default3": AnchorGrid(scales=(8.0,), ratios=(0.5, 1.0, 2.0)),
    "mmfruit18": AnchorGrid(scales=(8.0, 11.0, 14.0), ratios=(0.1, 0.5, 1.0, 2.0, 4.0, 8.0)),
}
"""Of the usual Faster R-CNN, and those that mmfruit-openimages2019 found for Open Images (sec. 5.5 and 7.1)."""

_LEVELS, _STRIDE, _SIDE = 5, 4, 8.0
_RESTARTS, _ROUNDS = 6, 100


@dataclass(frozen=True)
class ShapeClusters:
    """Anchors that were found.

    Attributes:
        grid: Their scales and ratios, rising.
        share: float64 [scales, ratios], the share of the objects that each is the nearest to.
        iou: Mean IoU of an object with its nearest anchor, both centred.
    """

    grid: AnchorGrid
    share: np.ndarray
    iou: float

    def table(self) -> PrintedTable:
        """Return the clusters as a table to print."""
        heads = [PrintedColumn("scale", ".3g", right=True)]
        heads += [PrintedColumn(f"ratio {ratio:.3g}", ".1%", right=True) for ratio in self.grid.ratios]
        rows: list[list[Cell]] = [
            [scale, *map(float, shares)] for scale, shares in zip(self.grid.scales, self.share, strict=True)
        ]
        return PrintedTable(heads, rows, "objects by their nearest anchor")


def shapes_of(data: "Data", short: int, long: int, most: int, seed: int = 0) -> np.ndarray:
    """Return the shapes of a data set's objects as the proposal network sees them.

    Args:
        data: The data set; crowds are left out.
        short: Short side of the images in training.
        long: Their longest side.
        most: If there are more objects, so many are drawn.
        seed: Of the draw.

    Returns:
        float64 [n, 2]: the side (root of the area) in strides of the object's level, which is 8 to 16 but for very
        small and very large objects, and the logarithm of height over width.
    """
    sides, ratios = [np.empty(0)], [np.empty(0)]
    for part in data.parts:
        truth, sizes = part.truth, part.sizes.astype(np.float64)
        scale = np.minimum(short / sizes.min(axis=1), long / sizes.max(axis=1))
        kept = ~truth.crowd & (truth.xywh[:, 2:] > 0).all(axis=1)
        image = truth.image[kept]
        wh = truth.xywh[kept, 2:].astype(np.float64)
        if truth.unit == "normalized":
            wh = wh * sizes[image][:, ::-1]
        side = np.sqrt(wh.prod(axis=1)) * scale[image]
        level = np.clip(np.floor(np.log2(side / (_SIDE * _STRIDE))), 0, _LEVELS - 1)
        sides.append(side / (_STRIDE * 2**level))
        ratios.append(np.log(wh[:, 1] / wh[:, 0]))
    shapes = np.stack([np.concatenate(sides), np.concatenate(ratios)], axis=1)
    if len(shapes) > most:
        shapes = shapes[np.sort(np.random.default_rng(seed).choice(len(shapes), most, replace=False))]
    return shapes


def overlaps(shapes: np.ndarray, grid: AnchorGrid) -> np.ndarray:
    """Return the IoU of shapes (see `shapes_of`) and anchors with the same centre, float64 [n, scales x ratios]."""
    side, root = shapes[:, 0], np.exp(shapes[:, 1] / 2)
    width, height = side / root, side * root
    found = np.empty((len(shapes), len(grid.scales) * len(grid.ratios)))
    for place, (scale, ratio) in enumerate((s, r) for s in grid.scales for r in grid.ratios):
        inside = np.minimum(width, scale / ratio**0.5) * np.minimum(height, scale * ratio**0.5)
        found[:, place] = inside / (side**2 + scale**2 - inside)
    return found


def cluster(shapes: np.ndarray, scales: int, ratios: int, seed: int = 0) -> ShapeClusters:
    """Find anchors by k-means whose centres are a grid: as many scales as asked for, each with all ratios.

    The distance is 1 - IoU of boxes with the same centre. A scale becomes the mean side of its objects, a ratio the
    exponential of their mean logarithm. The report says no more than that k-means was used; the procedure is ours.

    Args:
        shapes: float64 [n, 2] of `shapes_of`.
        scales: Number of scales.
        ratios: Number of ratios.
        seed: Of the starts, the best of which counts.

    Raises:
        InputError: If there are fewer objects than anchors.
    """
    if len(shapes) < scales * ratios:
        problem = f"{scales * ratios} anchors cannot be learned from {len(shapes)} objects"
        raise InputError(f"option {option('anchor_scales')}", problem, "Ask for fewer")
    random, best = np.random.default_rng(seed), None
    for start in range(_RESTARTS):
        found = _from_one_start(shapes, *_start(shapes, scales, ratios, random if start else None))
        if best is None or found.iou > best.iou:
            best = found
    assert best is not None
    return best


def anchor_picture(shapes: np.ndarray, clusters: ShapeClusters) -> "Figure":
    """Draw the objects by side and ratio, and the anchors, with areas by their shares."""
    from evaluation.analysis.pictures import new_figure
    from evaluation.plots import GREY, PALETTE

    figure = new_figure(7, 5)
    axes = figure.subplots()
    axes.scatter(shapes[:, 0], np.exp(shapes[:, 1]), s=3, color=GREY, lw=0, rasterized=True, label="objects")
    x, y = np.meshgrid(clusters.grid.scales, clusters.grid.ratios, indexing="ij")
    axes.scatter(x, y, s=20 + 1500 * clusters.share, color=PALETTE[3], alpha=0.6, label="anchors, by their share")
    axes.set(xscale="log", yscale="log", xlabel="side in strides of the level", ylabel="height / width")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    axes.set_title(f"{x.size} anchors, mean IoU with the nearest {clusters.iou:.3f}", fontsize=10, loc="left")
    axes.legend(loc="upper right", markerscale=0.8)
    axes.grid(alpha=0.3)
    return figure


def _start(
    shapes: np.ndarray, scales: int, ratios: int, random: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return scales and logarithms of ratios: the middles of equal parts of the objects, or those of some of them."""
    if random is None:
        return tuple(  # type: ignore[return-value]
            np.quantile(shapes[:, axis], (np.arange(count) + 0.5) / count)
            for axis, count in enumerate((scales, ratios))
        )
    return random.choice(shapes[:, 0], scales, replace=False), random.choice(shapes[:, 1], ratios, replace=False)


def _from_one_start(shapes: np.ndarray, scales: np.ndarray, ratios: np.ndarray) -> ShapeClusters:
    best, before = None, None
    for _ in range(_ROUNDS):
        scales, ratios = np.sort(scales), np.sort(ratios)
        grid = AnchorGrid(scales=tuple(scales.tolist()), ratios=tuple(np.exp(ratios).tolist()))
        near = overlaps(shapes, grid)
        nearest, iou = near.argmax(axis=1), near.max(axis=1)
        if best is None or iou.mean() > best.iou:
            share = np.bincount(nearest, minlength=near.shape[1]) / len(shapes)
            best = ShapeClusters(grid, share.reshape(len(scales), len(ratios)), float(iou.mean()))
        if before is not None and np.array_equal(nearest, before):
            break
        before = nearest
        farthest = shapes[iou.argmin()]  # an anchor that is nearest to nothing goes there
        row, column = np.divmod(nearest, len(ratios))
        scales = _means(shapes[:, 0], row, len(scales), farthest[0])
        ratios = _means(shapes[:, 1], column, len(ratios), farthest[1])
    assert best is not None
    return best


def _means(values: np.ndarray, group: np.ndarray, count: int, otherwise: float) -> np.ndarray:
    size = np.bincount(group, minlength=count)
    mean: np.ndarray = np.where(size > 0, np.bincount(group, values, count) / np.maximum(size, 1), otherwise)
    return mean

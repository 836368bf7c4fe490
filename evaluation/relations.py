"""Counting how the categories of a data set go together, and showing it."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.kernels.surround import surrounding_images
from fusion.checks import within
from fusion.kernels.jit import chunks, run
from fusion.printed_table import PrintedColumn, PrintedTable
from fusion.relations import Relations, Surrounding, Together

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["learn_relations", "relations_frame", "relations_table", "strongest"]


def learn_relations(ground_truth: GroundTruth, ioa: float = 0.9) -> Relations:
    """Count which categories occur together and which lie inside which (mmfruit-openimages2019, sec. 5.8).

    A category occurs in an image when the image has a box of it, crowd or group-of boxes included, or an
    image label that says so (`GroundTruth.positive`, Open Images); the latter counts no objects. Objects inside
    others are counted on boxes that are no crowd: an object lies inside another of a different, larger
    box when at least `ioa` of its area does. Boxes of equal area, such as the copies that Open Images makes for
    parent categories, and empty boxes surround nothing.

    Args:
        ground_truth: Of a training or validation split; boxes of any unit.
        ioa: Intersection over the inner box's area, in [0, 1].

    Returns:
        The counts.

    Raises:
        InputError: If `ioa` is out of range.
    """
    from scipy import sparse

    within("ioa", ioa, 0.0, 1.0)
    n, k = len(ground_truth.image_id), len(ground_truth.category_id)
    objects = sparse.coo_matrix(
        (np.ones(len(ground_truth), np.int64), (ground_truth.image, ground_truth.category)), (n, k)
    ).tocsr()
    seen = objects.copy()
    if ground_truth.positive is not None:
        labels = ground_truth.positive
        ones = np.ones(len(labels.category), np.int64)
        seen = seen + sparse.csr_matrix((ones, labels.category, labels.start), (n, k))
    seen.data[:] = 1
    both, shared = (seen.T @ seen).tocsr(), (objects.T @ seen).tocsr()
    upper = sparse.triu(both, k=1).tocsr()
    upper.sort_indices()
    upper = upper.tocoo()
    first, second = upper.row.astype(np.int32), upper.col.astype(np.int32)
    together = Together(first, second, upper.data, _entries(shared, first, second), _entries(shared, second, first))
    return Relations(
        ioa=float(ioa),
        images=n,
        categories=ground_truth.categories_fingerprint,
        category_id=ground_truth.category_id,
        category_name=ground_truth.category_name,
        category_images=both.diagonal(),
        category_objects=np.bincount(ground_truth.category, minlength=k),
        together=together,
        surrounding=_surrounding(ground_truth, ioa),
    )


def _entries(matrix: Any, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    return np.asarray(matrix[row, column], np.int64).ravel() if len(row) else np.zeros(0, np.int64)


def _surrounding(ground_truth: GroundTruth, ioa: float) -> Surrounding:
    rows = np.flatnonzero(~ground_truth.crowd)
    rows = rows[np.lexsort((ground_truth.category[rows], ground_truth.image[rows]))]
    start = np.searchsorted(ground_truth.image[rows], np.arange(len(ground_truth.image_id) + 1)).astype(np.int64)
    category, count = ground_truth.category[rows], len(ground_truth.category_id)
    corners = tuple(np.ascontiguousarray(side) for side in ground_truth.corners[rows].T)
    parts = run(
        lambda low, high: surrounding_images(low, high, start, category, *corners, count, float(ioa)),
        chunks(start, 16384),
    )
    keys = [np.concatenate([np.zeros(0, np.int64), *(part[i] for part in parts)]) for i in (0, 1)]
    # an object inside another has that one around it, so both lists name the same pairs
    (key, inside), (_, around) = (np.unique(part, return_counts=True) for part in keys)
    inner, outer = np.divmod(key, max(count, 1))
    return Surrounding(inner.astype(np.int32), outer.astype(np.int32), inside, around)


def relations_frame(relations: Relations) -> "pd.DataFrame":
    """Return a row per ordered pair of categories that occur together.

    Columns: category (i), given (j), images (with both), conditional, printed, lift (conditional over the share of
    all images with i), inside (share of i's objects inside a j), around (share of i's objects with a j inside).
    """
    import pandas as pd

    names = np.array(relations.category_name, dtype=object)
    pairs = relations.together
    i, j = np.concatenate((pairs.first, pairs.second)), np.concatenate((pairs.second, pairs.first))
    conditional, printed = (np.concatenate(getattr(relations, name)()) for name in ("conditional", "printed"))
    share = relations.category_images / max(relations.images, 1)
    q_inside, q_around = relations.surround_rates()
    k = len(names)
    columns = []
    inner, outer = (column.astype(np.int64) for column in (relations.surrounding.inner, relations.surrounding.outer))
    for key, rate in ((inner * k + outer, q_inside), (outer * k + inner, q_around)):
        order = np.argsort(key)
        wanted = i.astype(np.int64) * k + j
        place = np.minimum(np.searchsorted(key[order], wanted), max(len(key) - 1, 0))
        found = key[order][place] == wanted if len(key) else np.zeros(len(wanted), bool)
        columns.append(np.where(found, rate[order][place] if len(key) else 0.0, 0.0))
    return pd.DataFrame(
        {
            "category": names[i],
            "given": names[j],
            "images": np.tile(pairs.images, 2),
            "conditional": conditional,
            "printed": printed,
            "lift": conditional / share[i],
            "inside": columns[0],
            "around": columns[1],
        }
    )


def strongest(relations: Relations, by: str, support: int = 20) -> "pd.DataFrame":
    """Return the rows of `relations_frame` that are counted on enough, the strongest first.

    Args:
        relations: What was learned.
        by: Column to sort by; "inside" and "around" need `support` objects, the others images with `given`.
        support: Least number behind a share.
    """
    frame = relations_frame(relations)
    objects = by in ("inside", "around")
    behind = relations.category_objects if objects else relations.category_images
    count = dict(zip(relations.category_name, behind.tolist(), strict=True))
    keep = frame["category" if objects else "given"].map(count) >= support
    rows = frame[keep & (frame[by] > 0)]
    return rows.sort_values([by, "images"], ascending=False, kind="stable").reset_index(drop=True)


def relations_table(
    relations: Relations, kind: Literal["conditional", "inside", "around"], top: int = 15, support: int = 20
) -> PrintedTable:
    """Return the strongest pairs of one kind as a table to print.

    Args:
        relations: What was learned.
        kind: "conditional": p(i|j), the pairs of largest lift among those with p(i|j) >= 0.5; "inside": objects of i
            that lie inside a j; "around": objects of i with a j inside.
        top: Number of rows.
        support: Least number of images or objects behind a share.
    """
    if kind == "conditional":
        rows = strongest(relations, "lift", support)
        rows = rows[rows["conditional"] >= 0.5].head(top)
        title = f"categories that come with others, {relations.images} images"
        heads: tuple[str, ...] = ("given j", "also i", "images", "p(i|j) = Cij/Cj", "printed Cij/Ci", "lift")
        columns: tuple[str, ...] = ("given", "category", "images", "conditional", "printed", "lift")
    else:
        rows = strongest(relations, kind, support).head(top)
        what = "inside others" if kind == "inside" else "around others"
        title = f"categories {what}, IoA >= {relations.ioa:g}"
        heads = ("category i", "inside j" if kind == "inside" else "has inside it j", "share of i")
        columns = ("category", "given", kind)
    cells = rows[list(columns)].itertuples(index=False, name=None)
    printed = [PrintedColumn(head, ".3g", right=number >= 2) for number, head in enumerate(heads)]
    return PrintedTable(printed, [list(row) for row in cells], title)

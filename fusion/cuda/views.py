"""Twins of the steps that go by test-time views: what each is good for, and which ones vote on an instance."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.answer import pack_rows
from fusion.cuda.kernels.device import empty, filled, number_at, to_device, to_host
from fusion.cuda.kernels.views import Trust, choose_rows, find_levels, find_views, weigh_sizes
from fusion.cuda.masking import masks_of
from fusion.cuda.resident import GpuPool, Origins, Resident, UnsuitableError
from fusion.scales import Scales
from fusion.steps.select_views import SelectViews
from fusion.views import view_codes

__all__ = ["select_views", "trusted_scores"]


class _Views(NamedTuple):
    """The views of a pool's rows.

    Attributes:
        names: By code; code 0 is no view, and no row has it.
        used: int8 by code, whether any row has it.
        view: int32 [n] on the GPU, the code of each row.
    """

    names: tuple[str, ...]
    used: np.ndarray
    view: Any


def trusted_scores(scales: Scales, pool: GpuPool) -> tuple[Any, Any]:
    """Return scores multiplied by what the views are good for, float64 [n], and which rows stay, int8 [n].

    Raises:
        UnsuitableError: If a view is not named or has no weights, or the boxes are not in pixels.
    """
    views = _views_of(pool)
    present = {views.names[code] for code in np.flatnonzero(views.used)}
    for known in scales.weights, scales.limits:
        if known and (pool.inputs[0].metadata.unit != "pixel" or not present <= known.keys()):
            raise UnsuitableError
    every = [1.0] * (len(scales.sides) + 1)
    weights = [scales.weights.get(name, every) for name in views.names]
    limits = [scales.limits.get(name, (np.nan, np.nan)) for name in views.names]
    boost = [scales.boost.get(category, 1.0) for category in pool.origins.category_ids.tolist()]
    numbers = (scales.sides, weights, *zip(*limits, strict=True), boost)
    trust = Trust._make(to_device(np.array(part, np.float64).ravel()) for part in numbers)
    size = len(pool.rows.image)
    score, used = empty(size, np.float64), empty(size, np.int8)
    weigh_sizes(size, pool.rows, views.view, trust, score, used)
    return score, used


def select_views(step: SelectViews, pool: GpuPool) -> Resident:
    """Leave the rows of views that fit the instance they are of."""
    if pool.inputs[0].metadata.unit != "pixel":
        raise UnsuitableError
    views, size, instances = _views_of(pool), len(pool.rows.image), len(pool.inputs[0])
    level, used, wrong = empty(instances, np.int32), empty(size, np.int8), filled(1, np.int32)
    square, ratio, doubled = float(step.side**2), float(step.ratio), int(step.rule == "log2")
    find_levels(instances, pool.rows, masks_of(pool.origins), square, ratio, doubled, len(step.views), level, wrong)
    votes = np.array([[name in names for name in views.names] for names in step.views], np.int8)
    listed = to_device(votes.max(axis=0))
    choose_rows(size, pool.sorted(), level, views.view, to_device(votes.ravel()), listed, used, wrong)
    if number_at(wrong, 0) != 0:
        raise UnsuitableError
    return pool.kept(pack_rows(pool.rows, pool.rows.score, used), own_scores=True)


def _views_of(pool: GpuPool) -> _Views:
    """Return the views of a pool's rows; an input without a column is one view, called as itself.

    Raises:
        UnsuitableError: If an input has a column that is empty in some rows.
    """
    names, codes = _uploaded(pool.origins)
    names = dict(names)
    fixed = [
        0 if "view" in table.optional else names.setdefault(label, len(names) + 1)
        for table, label in zip(pool.inputs, pool.labels, strict=True)
    ]
    size = len(pool.rows.image)
    view, used = empty(size, np.int32), filled(len(names) + 1, np.int8)
    on_gpu = to_device(np.array(fixed, np.int32))
    find_views(size, pool.rows.origin, pool.input_of_rows(), on_gpu, codes, view, used)
    flags = to_host(used)
    if flags[0]:
        raise UnsuitableError
    return _Views(("", *names), flags, view)


def _uploaded(origins: Origins) -> tuple[dict[str, int], Any]:
    """Return the codes of the views that the tables on the GPU name, and each of their rows' on the GPU: int32."""
    tables = origins.tables
    if len(tables) not in origins.views:
        names: dict[str, int] = {}
        parts = []
        for table in tables:
            own, code = view_codes(table)
            lookup = [0, *(names.setdefault(name, len(names) + 1) for name in own[1:].tolist())]
            parts.append(np.array(lookup, np.int32)[code])
        origins.views.clear()
        origins.views[len(tables)] = names, to_device(np.concatenate(parts))
    views: tuple[dict[str, int], Any] = origins.views[len(tables)]
    return views

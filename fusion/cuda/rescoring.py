"""Twins of the steps that change scores by maps, by relations of categories and by other inputs."""

from typing import Any

import numpy as np

from fusion.cuda.kernels.answer import pack_rows
from fusion.cuda.kernels.calibrate import Maps, calibrated
from fusion.cuda.kernels.cells import Cells, GpuColumns, cells_of, used_categories
from fusion.cuda.kernels.device import empty, filled, to_device
from fusion.cuda.kernels.partners import support_rows
from fusion.cuda.kernels.regions import leave_background_out
from fusion.cuda.kernels.relations import Evidence, Probabilities, checked_scores, raise_tops, weigh_boxes
from fusion.cuda.kernels.rescore import weigh_rows
from fusion.cuda.resident import GpuPool, Resident, UnsuitableError
from fusion.score_maps import ScoreMap
from fusion.steps.calibrate import Calibrate
from fusion.steps.cooccurrence import Cooccurrence
from fusion.steps.select_experts import SelectExperts
from fusion.steps.support import Support
from fusion.steps.surround import Surround

__all__ = ["calibrate", "cooccurrence", "select_experts", "support", "surround"]


def calibrate(step: Calibrate, pool: GpuPool) -> Resident:
    """Look scores up in their member's maps."""
    maps: list[ScoreMap] = []
    kind = np.empty((len(pool.members), len(pool.origins.category_ids)), np.int32)
    for number, member in enumerate(pool.members):
        if member not in step.maps:
            raise UnsuitableError
        own = step.maps[member]
        kind[number] = len(maps)
        maps.append(own if isinstance(own, ScoreMap) else own.pooled)
        if not isinstance(own, ScoreMap):
            for place, category in enumerate(pool.origins.category_ids.tolist()):
                if category in own.category:
                    kind[number, place] = len(maps)
                    maps.append(own.category[category])
    score = calibrated(pool.rows, to_device(kind.ravel()), kind.shape[1], _maps_on_gpu(maps))
    return pool.kept(pool.rows._replace(score=score))


def _maps_on_gpu(maps: list[ScoreMap]) -> Maps:
    knots, values = ([np.asarray(getattr(one, name), np.float64) for one in maps] for name in ("score", "value"))
    for place, one in enumerate(maps):
        if one.kind == "platt":
            (first, last), value = knots[place], values[place]
            low, high = np.log(value / (1 - value))
            values[place] = np.array([low, (high - low) / (last - first)])
    start = np.concatenate(([0], np.cumsum([len(one) for one in knots]))).astype(np.int32)
    sigmoid = np.array([one.kind == "platt" for one in maps], np.int8)
    return Maps(
        to_device(start), to_device(sigmoid), to_device(np.concatenate(knots)), to_device(np.concatenate(values))
    )


def _related(step: Cooccurrence | Surround, pool: GpuPool) -> tuple[Any, GpuColumns, Cells, Any]:
    """Return the step's relations of the categories that are there, the sorted rows, their cells and their scores."""
    ids = pool.origins.category_ids
    used = used_categories(pool.rows, len(ids))
    relations = step.rows(pool.inputs, ids[used])
    score, right = checked_scores(pool.rows)
    if not right:
        raise UnsuitableError
    columns = pool.sorted()
    place = np.zeros(len(ids), np.int32)
    place[used] = np.arange(len(used))
    return relations, columns, cells_of(pool.rows, columns, to_device(place), len(pool.origins.image_ids)), score


def cooccurrence(step: Cooccurrence, pool: GpuPool) -> Resident:
    """Raise the best box of each cell."""
    relations, columns, cells, score = _related(step, pool)
    # by the raised category, where the CPU's are by the one that raises
    given = np.repeat(np.arange(len(relations.start) - 1), np.diff(relations.start))
    order = np.lexsort((given, relations.column))
    start = np.searchsorted(relations.column[order], np.arange(len(relations.start))).astype(np.int32)
    likely = Probabilities(
        to_device(start), to_device(given[order].astype(np.int32)), to_device(relations.value[order])
    )
    raise_tops(len(cells.image), columns, cells, likely, float(step.given), float(step.least), score)
    return pool.kept(pool.rows._replace(score=score))


def surround(step: Surround, pool: GpuPool) -> Resident:
    """Weigh boxes by what lies around and inside them."""
    relations, columns, cells, score = _related(step, pool)
    around, present, absent = relations.value.T
    evidence = Evidence(
        to_device(relations.start.astype(np.int32)),
        to_device(relations.column),
        to_device(around.astype(np.int8)),
        to_device(float(step.up) * present),
        to_device(float(step.down) * absent),
    )
    weigh_boxes(len(columns.row), columns, cells, evidence, float(step.relations.ioa), score)
    return pool.kept(pool.rows._replace(score=score))


def select_experts(step: SelectExperts, pool: GpuPool) -> Resident:
    """Multiply scores by what each input's are worth in a category."""
    factors = step.factors(pool.labels, pool.origins.category_ids)
    size, number = len(pool.rows.image), pool.input_of_rows()
    score, used, missing = empty(size, np.float64), empty(size, np.int8), filled(1, np.int32)
    by_input = pool.rows._replace(member=number)
    weigh_rows(size, by_input, to_device(factors.ravel()), factors.shape[1], score, used, missing)
    if step.gate and not leave_background_out(pool.rows, number, len(pool.origins.image_ids), used):
        raise UnsuitableError
    return pool.kept(pack_rows(pool.rows, score, used), own_scores=step.mode != "weigh")


def support(step: Support, pool: GpuPool) -> Resident:
    """Multiply scores of boxes that no other input has."""
    size = len(pool.rows.image)
    score, used = empty(size, np.float64), filled(size, np.int8)
    support_rows(size, pool.rows, pool.sorted(), pool.input_of_rows(), float(step.iou), float(step.factor), score, used)
    return pool.kept(pack_rows(pool.rows, score, used))

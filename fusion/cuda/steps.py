"""The steps that have a twin on the GPU, and what it does with a pool."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fusion.cuda.kernels.agree import agreed, joined
from fusion.cuda.kernels.answer import Left, pack, pack_rows
from fusion.cuda.kernels.cells import GpuColumns
from fusion.cuda.kernels.cluster import Rule, fuse_clusters
from fusion.cuda.kernels.device import empty, filled, number_at, to_device
from fusion.cuda.kernels.relations import checked_scores
from fusion.cuda.kernels.rescore import flag_best, select_rows, weigh_rows
from fusion.cuda.kernels.soft import Decay, soften
from fusion.cuda.kernels.suppress import suppress
from fusion.cuda.kernels.vote import Ballot, vote_on
from fusion.cuda.masking import mask_nms, vote_masks
from fusion.cuda.rebuilding import dropout, expand_hierarchy
from fusion.cuda.rescoring import calibrate, cooccurrence, select_experts, support, surround
from fusion.cuda.resident import GpuPool, Resident, UnsuitableError
from fusion.cuda.views import select_views, trusted_scores
from fusion.formulas.clusters import CONFIDENCES
from fusion.steps.adj_nms import AdjNms
from fusion.steps.calibrate import Calibrate
from fusion.steps.concat import Concat
from fusion.steps.consensus import Consensus
from fusion.steps.cooccurrence import Cooccurrence
from fusion.steps.dropout import Dropout
from fusion.steps.expand_hierarchy import ExpandHierarchy
from fusion.steps.mask_nms import MaskNms
from fusion.steps.merge_scales import MergeScales
from fusion.steps.nms import Nms
from fusion.steps.nms_then_soft import NmsThenSoft
from fusion.steps.nmw import Nmw
from fusion.steps.prob_fusion import ProbFusion
from fusion.steps.reweight import Reweight
from fusion.steps.select_experts import SelectExperts
from fusion.steps.select_views import SelectViews
from fusion.steps.soft_nms import SoftNms
from fusion.steps.support import Support
from fusion.steps.surround import Surround
from fusion.steps.vote import Vote
from fusion.steps.vote_masks import VoteMasks
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable
from fusion.weights import member_weights

__all__ = ["BEYOND", "TWINS", "Twin", "twin_of"]

Twin = Callable[[Any, GpuPool], Resident | DetectionTable]


def _kept(pool: GpuPool, columns: GpuColumns, alive: Any, score: Any) -> Resident:
    """The boxes flagged, as they are but for their scores."""
    none = empty(0, np.float64)
    return pool.kept(pack(pool.rows, columns, Left(alive, score, none, none, none, none, empty(0, np.int16))))


def _nms(step: Nms, pool: GpuPool) -> Resident:
    columns = pool.sorted()
    return _kept(pool, columns, suppress(columns, float(step.iou)), columns.score)


def _soft(pool: GpuPool, columns: GpuColumns, hard: float | None, decay: Decay) -> Resident:
    alive = filled(len(columns.row), np.int8, 1) if hard is None else suppress(columns, float(hard))
    score = soften(columns, alive, decay)
    return _kept(pool, columns, alive, score)


def _soft_nms(step: SoftNms, pool: GpuPool) -> Resident:
    decay = Decay(step.method == "gaussian", float(step.sigma), float(step.iou), float(step.floor))
    return _soft(pool, pool.sorted(), None, decay)


def _adj_nms(step: AdjNms, pool: GpuPool) -> Resident:
    return _soft(pool, pool.sorted(), step.iou, Decay(True, float(step.sigma), 0.0, float(step.floor)))


def _nms_then_soft(step: NmsThenSoft | MergeScales, pool: GpuPool, columns: GpuColumns | None = None) -> Resident:
    decay = Decay(step.method == "gaussian", float(step.sigma), float(step.soft_iou), float(step.floor))
    return _soft(pool, columns or pool.sorted(), step.iou, decay)


def _merge_scales(step: MergeScales, pool: GpuPool) -> Resident:
    """Suppress by the scores that the views' trust leaves."""
    score, used = trusted_scores(step.scales, pool)
    columns = pool.sorted(score, used)
    if not len(columns.row):
        return pool.kept(pack_rows(pool.rows, score, used))
    return _nms_then_soft(step, pool, columns)


def _consensus(step: Consensus, pool: GpuPool) -> Resident:
    columns = pool.sorted()
    least = min(int(step.min_members), len(pool.members) + 1)
    answer = pool.kept(pack(pool.rows, columns, agreed(columns, float(step.iou), least)))
    return replace(answer, optional=answer.optional | {"votes"})


def _prob_fusion(step: ProbFusion, pool: GpuPool) -> Resident:
    _, right = checked_scores(pool.rows)
    if not right:
        raise UnsuitableError
    columns = pool.sorted()
    return pool.made(pack(pool.rows, columns, joined(columns, float(step.iou))))


def _fused(pool: GpuPool, weights: np.ndarray, skip: float, rule: Rule) -> Resident:
    """Cluster the boxes by falling score times weight."""
    size = len(pool.rows.image)
    key, used = empty(size, np.float64), empty(size, np.int8)
    on_gpu = to_device(weights)
    select_rows(size, pool.rows, on_gpu, skip, key, used)
    columns = pool.sorted(key, used)
    if not len(columns.row):
        return pool.made(pack_rows(pool.rows, key, filled(size, np.int8)))
    return pool.made(pack(pool.rows, columns, fuse_clusters(columns, on_gpu, rule)))


def _wbf(step: Wbf, pool: GpuPool) -> Resident:
    weights = member_weights(step.weights, pool.members)
    rule = Rule(
        True,
        float(step.iou),
        CONFIDENCES.index(step.conf_type),
        bool(step.allows_overflow),
        float(weights.sum()),
        float(weights.max()),
    )
    return _fused(pool, weights, float(step.skip_box_threshold), rule)


def _nmw(step: Nmw, pool: GpuPool) -> Resident:
    weights = member_weights(step.weights, pool.members)
    rule = Rule(False, float(step.iou), 0, False, 1.0, 1.0)
    return _fused(pool, weights / weights.max(), float(step.skip_box_threshold), rule)


def _vote(step: Vote, pool: GpuPool) -> Resident:
    columns = pool.sorted()
    ballot = Ballot(min(int(step.k), len(columns.row)), float(step.score), float(step.box), float(step.iou))
    return pool.made(pack(pool.rows, columns, vote_on(columns, suppress(columns, float(step.iou)), ballot)))


def _reweight(step: Reweight, pool: GpuPool) -> Resident:
    size, categories = len(pool.rows.image), len(pool.origins.category_ids)
    table = np.stack([step.weights_of(member, pool.origins.category_ids) for member in pool.members])
    score, used = empty(size, np.float64), empty(size, np.int8)
    missing = filled(1, np.int32, size)
    weigh_rows(size, pool.rows, to_device(table.ravel()), categories, score, used, missing)
    if number_at(missing, 0) < size:
        raise UnsuitableError
    return pool.kept(pack_rows(pool.rows, score, used))


def _concat(step: Concat, pool: GpuPool) -> Resident:
    if step.max_per_image is None:
        return pool.kept(pool.rows, own_scores=True)
    columns = pool.sorted(categories=1)
    used = empty(len(columns.row), np.int8)
    flag_best(len(columns.row), columns, min(int(step.max_per_image), len(columns.row)), used)
    return pool.kept(pack_rows(pool.rows, pool.rows.score, used), own_scores=True)


TWINS: Mapping[type[Any], Twin] = {
    AdjNms: _adj_nms,
    Calibrate: calibrate,
    Concat: _concat,
    Consensus: _consensus,
    Cooccurrence: cooccurrence,
    Dropout: dropout,
    ExpandHierarchy: expand_hierarchy,
    MaskNms: mask_nms,
    MergeScales: _merge_scales,
    Nms: _nms,
    NmsThenSoft: _nms_then_soft,
    Nmw: _nmw,
    ProbFusion: _prob_fusion,
    Reweight: _reweight,
    SelectExperts: select_experts,
    SelectViews: select_views,
    SoftNms: _soft_nms,
    Support: support,
    Surround: surround,
    Vote: _vote,
    VoteMasks: vote_masks,
    Wbf: _wbf,
}


BEYOND = {"across_categories": "across categories", "box_weights": "with box weights"}
"""Parameters that no twin knows, and what a step that has them is called."""


def twin_of(step: Any) -> Twin | None:
    """Return what does a step on the GPU; None where it runs on the CPU."""
    return None if any(getattr(step, name, None) for name in BEYOND) else TWINS.get(type(step))

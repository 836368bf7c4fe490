"""Clusters of overlapping boxes, WBF and NMW: boxes one after the other, a thread for each cluster to compare with."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.answer import Left, room
from fusion.cuda.kernels.cells import GpuColumns, bounds, by_size
from fusion.cuda.kernels.device import THREADS, Kernel, cuda, device_function, empty, filled, formula
from fusion.cuda.kernels.soft import best_of_group
from fusion.formulas import boxes
from fusion.formulas import clusters as formulas

__all__ = ["Rule", "fuse_clusters"]

added, single, wbf_score, iou = map(formula, (formulas.added, formulas.single, formulas.wbf_score, boxes.iou))


class Rule(NamedTuple):
    """How boxes are put together; see `fusion.steps.wbf.Wbf` and `fusion.steps.nmw.Nmw`.

    Attributes:
        running: WBF: the box of a cluster is the running mean; NMW: it is its first.
        iou: A box joins a cluster above this overlap.
        confidence: How WBF scores a cluster, index into `fusion.formulas.clusters.CONFIDENCES`.
        overflow: Whether "avg" may count more boxes than there are members.
        total: Sum of the weights as NumPy adds them.
        largest: The largest of them.
    """

    running: bool
    iou: float
    confidence: int
    overflow: bool
    total: float
    largest: float


class Clusters(NamedTuple):
    """Clusters of all cells; the k-th of a cell is at the place of its k-th box.

    Attributes:
        x1, y1, x2, y2, area: float64 [n], the box that stands for the cluster.
        sum_x1, sum_y1, sum_x2, sum_y2: float32 [n], sums of corners times score.
        score, weight: float64 [n], sums.
        boxes, members: int32 [n], how many; distinct ones. No boxes: no cluster.
        lead: int32 [n], place of its first box.
        bits: uint64 [n * words], members in it.
    """

    x1: Any
    y1: Any
    x2: Any
    y2: Any
    area: Any
    sum_x1: Any
    sum_y1: Any
    sum_x2: Any
    sum_y2: Any
    score: Any
    weight: Any
    boxes: Any
    members: Any
    lead: Any
    bits: Any


def fuse_clusters(columns: GpuColumns, weights: Any, rule: Rule) -> Left:
    """Fuse each cell's boxes into clusters.

    Args:
        columns: Sorted by score * weight.
        weights: float64 [members] on the GPU.
        rule: What to do.
    """
    size = len(columns.row)
    words = -(-len(weights) // 64)
    doubles, singles = ([empty(size, kind) for _ in range(n)] for kind, n in ((np.float64, 7), (np.float32, 4)))
    boxes, members, lead = filled(size, np.int32), empty(size, np.int32), empty(size, np.int32)
    bits = filled(size * words, np.uint64)
    clusters = Clusters._make([*doubles[:5], *singles, *doubles[5:], boxes, members, lead, bits])
    for chosen, count, width in by_size(columns.start):
        cluster_cells(count * width, columns, chosen, count, width, weights, words, rule, clusters)
    left = room(size, corners=True, votes=True)
    finish_clusters(size, columns, clusters, weights, words, rule, left)
    return left


@Kernel
def cluster_cells(columns, chosen, count, width, weights, words, rule, clusters):
    """Cluster the boxes of cells chosen[:count], `width` threads on each."""
    value = cuda.shared.array(THREADS, np.float64)
    place = cuda.shared.array(THREADS, np.int32)
    me = cuda.threadIdx.x
    lane, group = me % width, me // width
    groups = THREADS // width
    for base in range(cuda.blockIdx.x * groups, count, cuda.gridDim.x * groups):
        first, last = bounds(columns.start, chosen, count, base + group)
        b, end = first, first  # clusters of this cell are at first..end-1
        while cuda.syncthreads_or(np.int32(b < last)):
            best, found = rule.iou, -1
            if b < last:
                x1, y1, x2, y2 = columns.x1[b], columns.y1[b], columns.x2[b], columns.y2[b]
                area = (x2 - x1) * (y2 - y1)
                for k in range(first + lane, end, width):
                    u = iou(
                        clusters.x1[k], clusters.y1[k], clusters.x2[k], clusters.y2[k], clusters.area[k],
                        x1, y1, x2, y2, area,
                    )  # fmt: skip
                    if u > best:
                        best, found = u, k
            value[me], place[me] = best, found
            best_of_group(value, place, lane, width)
            best, found = value[me - lane], place[me - lane]
            if b < last:
                if lane == 0:
                    join(columns, b, found if found >= 0 else end, found < 0, best, weights, words, rule, clusters)
                if found < 0:
                    end += 1
                b += 1


@device_function
def join(columns, b, k, fresh, overlap, weights, words, rule, clusters):
    """Add box b to cluster k, which is a new one if `fresh`."""
    x1, y1, x2, y2 = columns.x1[b], columns.y1[b], columns.x2[b], columns.y2[b]
    score, member = columns.score[b], columns.member[b]
    if fresh:
        clusters.x1[k], clusters.y1[k], clusters.x2[k], clusters.y2[k] = x1, y1, x2, y2
        clusters.area[k] = (x2 - x1) * (y2 - y1)
        clusters.sum_x1[k] = clusters.sum_y1[k] = clusters.sum_x2[k] = clusters.sum_y2[k] = 0.0
        clusters.score[k] = clusters.weight[k] = 0.0
        clusters.members[k] = 0
        clusters.lead[k] = b
    clusters.boxes[k] += 1
    word, bit = np.int64(k) * words + member // 64, np.uint64(1) << np.uint64(member % 64)
    if clusters.bits[word] & bit == np.uint64(0):
        clusters.bits[word] |= bit
        clusters.members[k] += 1
    if not rule.running and not fresh:
        score *= overlap
    clusters.sum_x1[k] = added(clusters.sum_x1[k], score, x1)
    clusters.sum_y1[k] = added(clusters.sum_y1[k], score, y1)
    clusters.sum_x2[k] = added(clusters.sum_x2[k], score, x2)
    clusters.sum_y2[k] = added(clusters.sum_y2[k], score, y2)
    total = clusters.score[k] + score
    clusters.score[k] = total
    clusters.weight[k] += weights[member]
    if rule.running and not fresh and total != 0.0:
        x1, y1 = single(clusters.sum_x1[k] / total), single(clusters.sum_y1[k] / total)
        x2, y2 = single(clusters.sum_x2[k] / total), single(clusters.sum_y2[k] / total)
        clusters.x1[k], clusters.y1[k], clusters.x2[k], clusters.y2[k] = x1, y1, x2, y2
        clusters.area[k] = (x2 - x1) * (y2 - y1)


@device_function
def score_of(columns, clusters, k, weights, words, rule):
    """Return the score of a WBF cluster."""
    part = cuda.local.array(8, np.float64)
    boxes, top = clusters.boxes[k], columns.score[clusters.lead[k]]
    word = np.int64(k) * words
    return wbf_score(rule, boxes, top, clusters.score[k], clusters.weight[k], clusters.bits, word, weights, part)


@Kernel
def finish_clusters(columns, clusters, weights, words, rule, left):
    """Write box and score of each cluster to the place of its first box."""
    for k in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        if clusters.boxes[k] > 0:
            p = clusters.lead[k]
            left.alive[p] = 1
            left.votes[p] = clusters.members[k]
            x1, y1, x2, y2 = clusters.x1[k], clusters.y1[k], clusters.x2[k], clusters.y2[k]
            if rule.running:
                left.score[p] = score_of(columns, clusters, k, weights, words, rule)
            else:
                left.score[p] = single(columns.score[p])
                total = clusters.score[k]
                if total != 0.0:
                    x1, y1 = clusters.sum_x1[k] / total, clusters.sum_y1[k] / total
                    x2, y2 = clusters.sum_x2[k] / total, clusters.sum_y2[k] / total
                x1, y1 = single(x1), single(y1)
                x2, y2 = single(x2), single(y2)
            left.x1[p], left.y1[p], left.x2[p], left.y2[p] = x1, y1, x2, y2

"""Which ground-truth box each anchor or proposal belongs to."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zoo.config import RPN, ClassAware
from zoo.data.record import Target
from zoo.nn.geometry import box_iou, iof

__all__ = ["IGNORED", "Match", "class_aware_positives", "ignored", "match_anchors", "match_proposals"]

IGNORED = -1


@dataclass
class Match:
    """The assignment of boxes to the objects of one image.

    Attributes:
        labels: int64 [n]: of the object, 0 for background, -1 for neither.
        index: int64 [n], which object of the target; 0 where there is none.
    """

    labels: Tensor
    index: Tensor


def ignored(boxes: Tensor, target: Target, share: float, by: Literal["iof", "iou"] = "iof") -> Tensor:
    """Return which boxes [n, 4] have more than a share of their area in one ignore box, or such an IoU, bool [n].

    Of an image with labels only all are, as long as no object was mined in it.
    """
    if target.labels_only and not len(target.boxes):
        return torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    if not len(target.ignore_boxes):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    overlaps = iof(target.ignore_boxes, boxes) if by == "iof" else box_iou(target.ignore_boxes, boxes)
    return (overlaps > share).any(0)


def match_anchors(anchors: Tensor, target: Target, config: RPN) -> Match:
    """Assign anchors: by IoU thresholds, and to every object its best anchors whatever their IoU.

    With `forced_anchors` k each object gets its k best anchors; an anchor that several objects want goes to the one
    it overlaps most (megdetv2-coco2019, sec. 2.2.1).

    Args:
        anchors: float32 [n, 4].
        target: Annotations of the image.
        config: Thresholds.

    Returns:
        Labels 1, 0 and -1.
    """
    index = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
    labels = torch.zeros_like(index)
    if len(target.boxes):
        iou = box_iou(target.boxes, anchors)
        best, index = iou.max(0)
        labels.fill_(IGNORED)
        labels[best < config.negative_iou] = 0
        labels[best >= config.positive_iou] = 1
        if config.forced_anchors:
            top = iou.topk(min(config.forced_anchors, len(anchors)), dim=1)
            # an anchor is forced on the object of highest IoU among those that want it
            wanted = torch.full_like(iou, -1.0).scatter_(1, top.indices, top.values)
            strength, owner = wanted.max(0)
            forced = strength > 0
            index = torch.where(forced, owner, index)
        else:
            highest = iou.amax(1, keepdim=True)
            forced = ((iou == highest) & (iou > 0)).any(0)
        labels[forced] = 1
    labels[ignored(anchors, target, config.ignore_iof) & (labels == 0)] = IGNORED
    return Match(labels, index)


def match_proposals(
    boxes: Tensor,
    target: Target,
    iou: float,
    ignore_iof: float,
    class_aware: ClassAware | None = None,
    ignore_by: Literal["iof", "iou"] = "iof",
) -> Match:
    """Assign proposals to objects.

    Args:
        boxes: float32 [n, 4].
        target: Annotations of the image.
        iou: From which on a proposal is positive.
        ignore_iof: Proposals with a larger share in an ignore box are no background.
        class_aware: Thresholds per class instead.
        ignore_by: As in `Sampling`.

    Returns:
        Labels 1..K, 0 and -1.
    """
    index = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    labels = torch.zeros_like(index)
    if len(target.boxes) and len(boxes):
        overlaps = box_iou(target.boxes, boxes)
        best, index = overlaps.max(0)
        positive = class_aware_positives(overlaps, target.labels, iou, class_aware) if class_aware else best >= iou
        labels = torch.where(positive, target.labels[index], 0)
        if class_aware and class_aware.rest == "ignored":
            labels[(best >= iou) & ~positive] = IGNORED
    labels[ignored(boxes, target, ignore_iof, ignore_by) & (labels == 0)] = IGNORED
    return Match(labels, index)


def class_aware_positives(overlaps: Tensor, labels: Tensor, iou: float, config: ClassAware) -> Tensor:
    """Pick the positives of each class by its own IoU threshold (megdetv2-coco2019, sec. 2.2.1).

    The share alpha of all candidates (proposals that touch an object) that reach `iou` is taken from the candidates
    of each class, the best first and at least one: a hard class keeps positives, an easy one gets a higher threshold.

    Args:
        overlaps: float32 [objects, proposals].
        labels: int64 [objects].
        iou: The threshold that defines alpha.
        config: Floor and mode; both are ours, the report gives none.

    Returns:
        bool [proposals].
    """
    best, index = overlaps.max(0)
    classes = labels[index]
    candidate = best > 0
    reached = int((candidate & (best >= iou)).sum())
    alpha = reached / max(int(candidate.sum()), 1)
    floor = config.floor + iou - 0.5
    present = sorted(set(classes[candidate].tolist()))
    positive = torch.zeros_like(candidate)
    for label in present:
        own = (candidate & (classes == label)).nonzero().squeeze(1)
        wanted = alpha * len(own) if config.mode == "threshold" else reached / len(present)
        count = min(max(1, round(wanted)), len(own))
        threshold = best[own].topk(count).values[-1].clamp(min=floor)
        positive[own[best[own] >= threshold]] = True
    return positive

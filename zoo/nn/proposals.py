"""From scored boxes to the proposals of an image."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from zoo.config import RPN, HighIoU
from zoo.data.record import Target
from zoo.nn.geometry import box_iou

__all__ = ["Candidates", "high_iou", "select"]

_SMALLEST = 1e-2


@dataclass
class Candidates:
    """What the RPN found in one image.

    Attributes:
        boxes: float32 [n, 4], inside the image.
        scores: float32 [n] in 0..1.
        levels: int64 [n]; NMS compares boxes of one level only.
    """

    boxes: Tensor
    scores: Tensor
    levels: Tensor


def select(candidates: Candidates, config: RPN, training: bool, target: Target | None) -> Tensor:
    """Return proposals, float32 [n, 4], best first.

    Args:
        candidates: The best boxes of each level.
        config: Settings.
        training: Which of the two counts holds, and whether the ground truth may be looked at.
        target: Annotations of the image, in training.
    """
    boxes, scores, levels = candidates.boxes, candidates.scores, candidates.levels
    big = ((boxes[:, 2:] - boxes[:, :2]) > _SMALLEST).all(1)
    if not bool(big.all()):
        boxes, scores, levels = boxes[big], scores[big], levels[big]
    limit = config.after_nms[0 if training else 1]
    if config.high_iou is None:
        return boxes[batched_nms(boxes, scores, levels, config.nms_iou)[:limit]]
    objects = target.boxes if training and target is not None else boxes[:0]
    return boxes[high_iou(boxes, scores, levels, objects, config.high_iou)[:limit]]


def high_iou(boxes: Tensor, scores: Tensor, levels: Tensor, objects: Tensor, config: HighIoU) -> Tensor:
    """NMS in which proposals near an object are ranked by their IoU with it, before all others by their score.

    Without objects, as at test, scores alone rank them (megdetv2-coco2019, sec. 2.2.1).

    Args:
        boxes: float32 [n, 4].
        scores: float32 [n] in 0..1.
        levels: int64 [n].
        objects: float32 [g, 4].
        config: Threshold and cap.

    Returns:
        int64, indices of the boxes kept, best first.
    """
    if not len(objects) or not len(boxes):
        plain: Tensor = batched_nms(boxes, scores, levels, config.nms_iou)
        return plain
    best, owner = box_iou(objects, boxes).max(0)
    near = best >= 0.5
    kept: Tensor = batched_nms(boxes, torch.where(near, 1 + best, scores), levels, config.nms_iou)
    mine = (owner[kept, None] == torch.arange(len(objects), device=boxes.device)) & near[kept, None]
    place = (mine.cumsum(0) * mine).sum(1)
    return kept[place <= config.per_box]

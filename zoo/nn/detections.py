"""What a model finds in an image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from fusion.pool import pool_tables
from fusion.steps.soft_nms import SoftNms
from fusion.table import DetectionTable
from zoo.config import Infer, SoftNMS

__all__ = ["Detections", "pick", "rescaled"]

_FLOOR = 1e-3


@dataclass
class Detections:
    """Detections of one image, in pixels of the image on disk.

    Attributes:
        boxes: float32 [n, 4], xyxy.
        scores: float32 [n], best first.
        labels: int64 [n], 1..K.
        masks: COCO RLE (dict of size and counts) of each; None from a model without mask head.
        mask_scores: float32 [n], the score of each mask where the model predicts the IoU of its masks: the box's score
            times that IoU.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: list[dict[str, Any]] | None = None
    mask_scores: Tensor | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def to(self, device: torch.device | str) -> "Detections":
        """Return them with their tensors on a device."""
        scores = self.mask_scores.to(device) if self.mask_scores is not None else None
        return Detections(self.boxes.to(device), self.scores.to(device), self.labels.to(device), self.masks, scores)


@torch.no_grad()
def pick(boxes: Tensor, scores: Tensor, config: Infer) -> Detections:
    """Threshold, suppress and keep the best.

    Args:
        boxes: float32 [n, 4] or [n, classes, 4].
        scores: float32 [n, classes + 1], background first.
        config: Thresholds.

    Returns:
        Detections in the coordinates of `boxes`, best first.
    """
    row, label = (scores[:, 1:] > config.score).nonzero(as_tuple=True)
    found = boxes[row] if boxes.dim() == 2 else boxes[row, label]
    score = scores[row, label + 1]
    kept = (found[:, 2:] > found[:, :2]).all(1) & found.isfinite().all(1)
    found, score, label = found[kept], score[kept], label[kept] + 1
    if config.soft_nms is not None:
        index, score = _soft(found, score, label, config.soft_nms, min(_FLOOR, config.score))
    else:
        index = batched_nms(found, score, label, config.nms_iou)
        score = score[index]
    index, score = index[: config.detections], score[: config.detections]
    return Detections(found[index], score, label[index])


def _soft(boxes: Tensor, scores: Tensor, labels: Tensor, config: SoftNMS, floor: float) -> tuple[Tensor, Tensor]:
    """Return the rows kept and their lowered scores, best first."""
    xyxy = boxes.double().cpu().numpy()
    table = DetectionTable.from_arrays(
        image_id=np.zeros(len(xyxy), np.int64),
        category_id=labels.cpu().numpy(),
        score=scores.double().cpu().numpy(),
        xywh=np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1),
    )
    fused = SoftNms(method=config.method, sigma=config.sigma, iou=config.iou, floor=floor).fuse(pool_tables(table))
    order = np.argsort(-fused.score, kind="stable")
    return (
        torch.from_numpy(np.asarray(fused.row)[order]).to(boxes.device),
        torch.from_numpy(np.asarray(fused.score)[order]).to(scores),
    )


def rescaled(boxes: Tensor, size: tuple[int, int], to: tuple[int, int]) -> Tensor:
    """Return boxes [n, 4] of an image of one height and width in pixels of the same image at another."""
    height, width = to[0] / size[0], to[1] / size[1]
    return boxes * boxes.new_tensor([width, height, width, height])

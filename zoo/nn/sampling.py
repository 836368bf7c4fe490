"""Which proposals a head is trained on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.config import Sampling
from zoo.data.record import Target
from zoo.nn.draws import Draws
from zoo.nn.matching import IGNORED, match_proposals

__all__ = ["Regions", "draw_regions", "join", "one_of_copies"]


@dataclass
class Regions:
    """The regions of a batch that a head is trained on, with what they were matched to.

    Attributes:
        rois: float32 [n, 5], image index and box.
        labels: int64 [n], 0 for background.
        matched_idx: int64 [n], the object of the image's target; 0 for background.
        goal: float32 [n, 4], the object's box.
        weight: float32 [n], the image's loss weight times the object's.
        added: bool [n], ground truth that was put among the proposals.
    """

    rois: Tensor
    labels: Tensor
    matched_idx: Tensor
    goal: Tensor
    weight: Tensor
    added: Tensor

    def __len__(self) -> int:
        return len(self.rois)

    def only(self, mask: Tensor) -> "Regions":
        """Return the regions that a mask or index tensor picks."""
        return Regions(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))

    def box_weight(self, targets: list[Target]) -> Tensor:
        """Return the weight of what each region teaches about boxes: none of images with labels only."""
        if not any(target.labels_only for target in targets):
            return self.weight
        drawn = torch.tensor([not target.labels_only for target in targets], device=self.weight.device)
        return self.weight * drawn[self.rois[:, 0].long()]

    def positives(self) -> "Regions":
        """Return the regions that belong to an object."""
        return self.only(self.labels > 0)


@torch.no_grad()
def draw_regions(
    proposals: list[Tensor],
    targets: list[Target],
    config: Sampling,
    iou: float,
    ignore_iof: float,
    draws: list[Draws],
    stage: int | str = 0,
) -> Regions:
    """Match the proposals of each image and draw the regions to train on; the objects themselves are among them.

    Args:
        proposals: float32 [n, 4] of each image.
        targets: Annotations of each image.
        config: How many are drawn.
        iou: From which on a proposal is positive.
        ignore_iof: Proposals with a larger share in an ignore box are no background.
        draws: Random draws of each image.
        stage: Of the cascade; each stage draws anew.
    """
    parts = []
    for image, (boxes, target) in enumerate(zip(proposals, targets, strict=True)):
        every = torch.cat([boxes, target.boxes])
        match = match_proposals(every, target, iou, ignore_iof, config.class_aware, config.ignore_by)
        positive = draws[image].choose(
            (match.labels > 0).nonzero().squeeze(1), int(config.rois * config.positives), f"objects {stage}"
        )
        negative = draws[image].choose(
            (match.labels == 0).nonzero().squeeze(1), config.rois - len(positive), f"background {stage}"
        )
        unknown = positive[:0]
        if target.labels_only and len(target.boxes):  # an image counts for as much as others in means over regions
            unknown = draws[image].choose(
                (match.labels == IGNORED).nonzero().squeeze(1),
                config.rois - len(positive) - len(negative),
                f"unknown {stage}",
            )
        drawn = torch.cat([positive, negative, unknown])
        index, labels = match.index[drawn], match.labels[drawn].clamp(min=0)
        index[: len(positive)] = one_of_copies(index[: len(positive)], target, draws[image], f"copies {stage}")
        labels[: len(positive)] = target.labels[index[: len(positive)]]
        weight = torch.full((len(drawn),), target.loss_weight, device=every.device)
        # what is background beside a mined object is as sure as the object
        weighed = len(drawn) if target.labels_only else len(positive)
        weight[:weighed] *= target.box_weight[index[:weighed]]
        weight[len(drawn) - len(unknown) :] = 0.0
        goal = target.boxes[index] if len(target.boxes) else every.new_zeros(len(drawn), 4)
        rois = torch.cat([every.new_full((len(drawn), 1), float(image)), every[drawn]], dim=1)
        parts.append(Regions(rois, labels, index, goal, weight, drawn >= len(boxes)))
    return join(parts)


def one_of_copies(index: Tensor, target: Target, draws: Draws, purpose: str) -> Tensor:
    """Return for each object one of those with the same box, drawn evenly.

    In ground truth that is expanded by a class tree an object has a box for each class that it is of. A region is
    learned as one of them (ours); the first would always win otherwise, and no class would ever be learned from the
    objects of those below it.

    Args:
        index: int64 [n], objects of the target.
        target: Annotations of the image.
        draws: Of the image.
        purpose: Of the draw.
    """
    same = (target.boxes[:, None] == target.boxes).all(2)
    if int(same.sum()) == len(same):
        return index
    noise = draws.normal((len(index), len(same)), purpose).to(index.device)
    return noise.masked_fill(~same[index], -torch.inf).argmax(1)


def join(parts: list[Regions]) -> Regions:
    """Return the regions of several images as those of a batch."""
    return Regions(*(torch.cat([getattr(part, name) for part in parts]) for name in Regions.__dataclass_fields__))

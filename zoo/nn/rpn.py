"""The region proposal network."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.config import RPN
from zoo.data.record import Target
from zoo.nn.anchors import base_anchors, grid_anchors
from zoo.nn.draws import Draws
from zoo.nn.fpn import STRIDES
from zoo.nn.geometry import clip, decode, encode
from zoo.nn.losses import box_loss, shared_count
from zoo.nn.matching import match_anchors
from zoo.nn.proposals import Candidates, select

__all__ = ["ProposalNetwork", "Scored"]


class Scored(NamedTuple):
    """What the network says about the anchors, an entry per level.

    Attributes:
        scores: float32 [b, n], logits of objectness.
        deltas: float32 [b, n, 4].
        anchors: float32 [n, 4].
    """

    scores: list[Tensor]
    deltas: list[Tensor]
    anchors: list[Tensor]


class ProposalNetwork(nn.Module):
    """Objectness and box deltas of anchors at every position of every level.

    Args:
        config: Settings.
        channels: Channels of the pyramid.
    """

    def __init__(self, config: RPN, channels: int) -> None:
        super().__init__()
        self.config = config
        count = len(config.scales) * len(config.ratios)
        self.conv = nn.Conv2d(channels, config.channels, 3, padding=1)
        self.more = nn.ModuleList(
            nn.Conv2d(config.channels, config.channels, 3, padding=1) for _ in range(config.convs - 1)
        )
        self.objectness = nn.Conv2d(config.channels, count, 1)
        self.deltas = nn.Conv2d(config.channels, 4 * count, 1)
        for layer in (self.conv, *self.more, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        for level, stride in enumerate(STRIDES):
            self.register_buffer(f"base{level}", base_anchors(config, stride), persistent=False)

    def forward(self, pyramid: list[Tensor]) -> Scored:
        """Score the anchors of every level."""
        scores, deltas, anchors = [], [], []
        for level, features in enumerate(pyramid):
            batch, _, height, width = features.shape
            hidden = functional.relu(self.conv(features))
            for conv in self.more:
                hidden = functional.relu(conv(hidden))
            scores.append(self.objectness(hidden).permute(0, 2, 3, 1).reshape(batch, -1).float())
            found = self.deltas(hidden).view(batch, -1, 4, height, width)
            deltas.append(found.permute(0, 3, 4, 1, 2).reshape(batch, -1, 4).float())
            anchors.append(grid_anchors(self.get_buffer(f"base{level}"), STRIDES[level], height, width))
        return Scored(scores, deltas, anchors)

    @torch.no_grad()
    def propose(self, scored: Scored, sizes: list[tuple[int, int]], targets: list[Target] | None) -> list[Tensor]:
        """Return the proposals of each image, float32 [n, 4], best first.

        Args:
            scored: What `forward` gave.
            sizes: Height and width of each image without padding.
            targets: In training, for high-IoU sampling.
        """
        limit = self.config.before_nms[0 if self.training else 1]
        boxes, logits, levels = [], [], []
        for level, (score, delta, anchor) in enumerate(zip(*scored, strict=True)):
            top, index = score.topk(min(limit, score.shape[1]), dim=1)
            chosen = delta.gather(1, index[..., None].expand(-1, -1, 4))
            boxes.append(decode(chosen.reshape(-1, 4), anchor[index].reshape(-1, 4)).view_as(chosen))
            logits.append(top)
            levels.append(torch.full_like(index, level))
        every, logit, number = torch.cat(boxes, 1), torch.cat(logits, 1), torch.cat(levels, 1)
        found = []
        for image, size in enumerate(sizes):
            candidates = Candidates(clip(every[image], size), logit[image].sigmoid(), number[image])
            target = targets[image] if targets is not None else None
            found.append(select(candidates, self.config, self.training, target))
        return found

    def losses(self, scored: Scored, targets: list[Target], draws: list[Draws]) -> dict[str, Tensor]:
        """Return the losses of objectness and boxes over the drawn anchors of all images."""
        config = self.config
        score, delta, anchor = torch.cat(scored.scores, 1), torch.cat(scored.deltas, 1), torch.cat(scored.anchors)
        total, terms, shifts = 0, [], []
        for image, target in enumerate(targets):
            with torch.no_grad():
                match = match_anchors(anchor, target, config)
                positive = draws[image].choose(
                    (match.labels == 1).nonzero().squeeze(1), config.samples // 2, "anchors of objects"
                )
                negative = draws[image].choose(
                    (match.labels == 0).nonzero().squeeze(1), config.samples - len(positive), "anchors of background"
                )
                index = match.index[positive]
            total += len(positive) + len(negative)
            drawn = torch.cat([positive, negative])
            truth = torch.zeros(len(drawn), device=score.device)
            truth[: len(positive)] = 1.0
            weight = torch.ones_like(truth)
            if len(positive):
                weight[: len(positive)] = target.box_weight[index]
                goal = encode(anchor[positive], target.boxes[index])
                shift = box_loss(delta[image, positive], goal, config.beta) * weight[: len(positive)]
                shifts.append(shift.sum() * target.loss_weight)
            cross = functional.binary_cross_entropy_with_logits(score[image, drawn], truth, reduction="none")
            terms.append((cross * weight).sum() * target.loss_weight)
        count = shared_count(total, score)
        nothing = delta.sum() * 0 + score.sum() * 0
        return {
            "rpn_objectness": (torch.stack(terms).sum() + nothing) / count,
            "rpn_box": (torch.stack(shifts).sum() if shifts else nothing) / count,
        }

"""Box refiners: boxes that others found go in, the same boxes in better places come out."""

import torch
from torch import Tensor, nn

from zoo.config import Refiner
from zoo.data.record import Target
from zoo.nn.box_heads import Stage, StageHead, two_layers
from zoo.nn.cascade import BoxCascade
from zoo.nn.detections import Detections, rescaled
from zoo.nn.draws import Draws
from zoo.nn.fpn import Pyramids
from zoo.nn.geometry import clip, decode, encode
from zoo.nn.losses import box_loss, shared_count, weighted_mean
from zoo.nn.network import PyramidNetwork
from zoo.nn.pool import Pooler
from zoo.nn.sampling import Regions

__all__ = ["BoxRefiner", "Regressor"]


class Regressor(StageHead):
    """A head that says where an object lies, and not what it is."""

    def __init__(self, config: Refiner) -> None:
        super().__init__()
        channels = config.neck.channels
        self.pool = Pooler(config.pool, channels)
        self.layers = two_layers(channels * config.pool.size**2, config.channels)
        self.predictor = nn.Linear(config.channels, 4)
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, pyramids: Pyramids, rois: Tensor, stage: Stage) -> Tensor:
        """Return deltas [n, 4] of regions [n, 5]."""
        deltas: Tensor = self.predictor(self.layers(self.pool(pyramids.boxes, rois).flatten(1)))
        return deltas.float()

    def losses(self, output: Tensor, regions: Regions, targets: list[Target], stage: Stage) -> dict[str, Tensor]:
        """Return "box", the mean over the regions that belong to an object."""
        positive = (regions.labels > 0).nonzero().squeeze(1)
        goal = encode(regions.rois[positive, 1:], regions.goal[positive], stage.std)
        count = shared_count(len(positive), output)
        loss = weighted_mean(box_loss(output[positive], goal, stage.beta), regions.weight[positive], count)
        return {"box": loss + output.sum() * 0}

    def boxes(self, output: Tensor, rois: Tensor, stage: Stage) -> Tensor:
        """Return the regions moved by the deltas."""
        return decode(output, rois[:, 1:], stage.std)


class BoxRefiner(PyramidNetwork):
    """A cascade of regressors; categories and scores stay as they are.

    It is trained on shaken ground truth, and where the data have it on what detectors have found.

    Args:
        config: What it is made of.
        pretrained: Load pre-trained weights where the config asks for them.
    """

    boxes_given = "always"
    moves_boxes = True

    def __init__(self, config: Refiner, pretrained: bool = True) -> None:
        super().__init__(config.backbone, config.neck, config.train, pretrained)
        self.config = config
        heads = [Regressor(config) for _ in config.cascade.iou]
        self.boxes = BoxCascade(heads, config.cascade, config.sampling, ignore_iof=1.0)
        self.freeze(config.train.freeze)

    def losses(
        self, batch: Tensor, sizes: list[tuple[int, int]], targets: list[Target], draws: list[Draws]
    ) -> dict[str, Tensor]:
        """Return the loss of the boxes of each stage."""
        pyramids = Pyramids.shared(self.look(batch)[1])
        shaken = [
            clip(torch.cat([self._shaken(target, own), target.proposals]), size)
            for target, own, size in zip(targets, draws, sizes, strict=True)
        ]
        losses: dict[str, Tensor] = {}
        for stage in self.boxes.train_stages(pyramids, shaken, targets, sizes, draws):
            losses.update(stage.losses)
        for level in pyramids.boxes:  # no region may have been pooled from some of them
            losses["box_0" if len(self.boxes.stages) > 1 else "box"] += 0 * level.sum()
        return losses

    def detect(
        self,
        batch: Tensor,
        sizes: list[tuple[int, int]],
        originals: list[tuple[int, int]],
        given: list[Detections] | None,
    ) -> list[Detections]:
        """Return the given boxes of each image where the last stage sees their objects."""
        assert given is not None
        boxes = [
            rescaled(own.boxes.to(batch.device, torch.float32), original, size)
            for own, size, original in zip(given, sizes, originals, strict=True)
        ]
        for _, refined in self.boxes.refine(Pyramids.shared(self.look(batch)[1]), boxes, sizes):
            boxes = refined
        return [
            Detections(rescaled(found, size, original), own.scores, own.labels)
            for found, own, size, original in zip(boxes, given, sizes, originals, strict=True)
        ]

    def _shaken(self, target: Target, draws: Draws) -> Tensor:
        """Return copies of the objects, moved and stretched at random."""
        every = target.boxes.repeat(self.config.copies, 1)
        noise = draws.normal((len(every), 4), "shaken").to(every)
        return decode(noise, every, self.config.shake)

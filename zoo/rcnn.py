"""Two-stage detectors and segmenters: features, proposals, stages of heads, masks."""

import torch
from torch import Tensor, nn

from zoo.config import Model
from zoo.data.record import Target
from zoo.nn.cascade import BoxCascade
from zoo.nn.decoupled_backbone import ClassBranch, build_head
from zoo.nn.detections import Detections, pick, rescaled
from zoo.nn.draws import Draws
from zoo.nn.fpn import Pyramid, Pyramids
from zoo.nn.gate import gated
from zoo.nn.geometry import as_regions
from zoo.nn.mask_head import MaskBranch
from zoo.nn.mask_stages import MaskStages, build_masks
from zoo.nn.network import PyramidNetwork
from zoo.nn.paste import paste
from zoo.nn.rpn import ProposalNetwork
from zoo.nn.stuff import StuffBranch
from zoo.nn.weak import WeakBranch

__all__ = ["TwoStage"]


class TwoStage(PyramidNetwork):
    """Features, proposals, stages of box heads, masks.

    Args:
        config: What it is made of.
        num_classes: Classes without background.
        pretrained: Load pre-trained weights where the config asks for them.
    """

    def __init__(self, config: Model, num_classes: int, pretrained: bool = True) -> None:
        super().__init__(config.backbone, config.neck, config.train, pretrained)
        self.config = config
        self.num_classes = num_classes
        self.boxes_given = "never" if config.mask is None else "maybe"
        inputs = self.backbone.channels
        self.own_necks = nn.ModuleDict({task: Pyramid(config.neck, inputs) for task in config.own_necks})
        channels = config.neck.channels
        self.rpn = ProposalNetwork(config.rpn, channels)
        count = len(config.cascade.iou)
        self.apart = ClassBranch(self.backbone, self.neck) if config.decoupled else None
        heads = [build_head(config, channels, num_classes, number) for number in range(count)]
        self.boxes = BoxCascade(heads, config.cascade, config.sampling, config.rpn.ignore_iof)
        self.masks = build_masks(config.mask, channels, num_classes, count) if config.mask else None
        self.stuff = StuffBranch(config.stuff, channels) if config.stuff else None
        self.weak = WeakBranch(config.weak, self.boxes.class_channels, num_classes) if config.weak else None
        self.freeze(config.train.freeze)

    def features(self, batch: Tensor) -> Pyramids:
        """Return the pyramid of each task of normalised, padded images [b, 3, h, w]."""
        maps, pyramid = self.look(batch)
        own = {task: neck(maps) for task, neck in self.own_necks.items()}
        if self.apart is not None and self.config.decoupled is not None:
            own["classes"] = self.apart(maps)
            if self.config.decoupled.proposals == "classes":
                own["proposals"] = own["classes"]
        return Pyramids.shared(pyramid)._replace(**own)

    def losses(
        self, batch: Tensor, sizes: list[tuple[int, int]], targets: list[Target], draws: list[Draws]
    ) -> dict[str, Tensor]:
        """Return losses by name."""
        pyramids = self.features(batch)
        scored = self.rpn(pyramids.proposals)
        losses: dict[str, Tensor] = self.rpn.losses(scored, targets, draws)
        proposals = self.rpn.propose(scored, sizes, targets)
        if self.weak is not None:
            losses["weak"], targets = self.weak(self.boxes, pyramids, proposals, targets, draws[0].step)
        stages = list(self.boxes.train_stages(pyramids, proposals, targets, sizes, draws))
        for stage in stages:
            losses.update(stage.losses)
        match self.masks:
            case MaskBranch():
                losses.update(self.masks.losses(pyramids.masks, stages[0].regions, targets))
            case MaskStages():
                losses.update(self.masks.losses(pyramids.masks, stages, self.boxes, targets, draws))
        if self.stuff is not None:
            losses["stuff"] = self.stuff.loss(pyramids.stuff, targets)
        apart = ("classes", "boxes") if self.apart is not None else ()
        for task in (*self.own_necks, *apart):  # no region may have been pooled from some of its levels
            losses["rpn_objectness"] = losses["rpn_objectness"] + 0 * sum(
                level.sum() for level in getattr(pyramids, task)
            )
        return losses

    def detect(
        self,
        batch: Tensor,
        sizes: list[tuple[int, int]],
        originals: list[tuple[int, int]],
        given: list[Detections] | None,
    ) -> list[Detections]:
        """Return what is in each image; given boxes, labels and scores come back as they are, with masks."""
        pyramids = self.features(batch)
        if given is not None:
            return self._with_masks(pyramids.masks, given, sizes, originals)
        proposals = self.rpn.propose(self.rpn(pyramids.proposals), sizes, None)
        seen = self.boxes.detect(pyramids, proposals, sizes)
        if self.config.infer.gate:
            seen = [gated(boxes, scores) for boxes, scores in seen]
        picked = [pick(boxes, scores, self.config.infer) for boxes, scores in seen]
        found = [
            Detections(rescaled(own.boxes, size, original), own.scores, own.labels)
            for own, size, original in zip(picked, sizes, originals, strict=True)
        ]
        if self.masks is None:
            return found
        return self._drawn(pyramids.masks, found, [own.boxes for own in picked], originals)

    def _with_masks(
        self,
        pyramid: list[Tensor],
        given: list[Detections],
        sizes: list[tuple[int, int]],
        originals: list[tuple[int, int]],
    ) -> list[Detections]:
        device = pyramid[0].device
        inside = [
            rescaled(own.boxes.to(device, torch.float32), original, size)
            for own, size, original in zip(given, sizes, originals, strict=True)
        ]
        return self._drawn(pyramid, given, inside, originals)

    def _drawn(
        self, pyramid: list[Tensor], found: list[Detections], inside: list[Tensor], originals: list[tuple[int, int]]
    ) -> list[Detections]:
        """Return detections with the masks of boxes `inside` the input images."""
        assert self.masks is not None
        labels = torch.cat([own.labels.to(pyramid[0].device) for own in found])
        output = self.masks(pyramid, as_regions(inside), labels)
        counts = [len(own) for own in found]
        masks = output.logits.sigmoid().split(counts)
        quality = None
        if self.masks.iou is not None:
            quality = self.masks.iou(output.pooled, output.logits, labels).clamp(0, 1).split(counts)
        return [
            Detections(
                own.boxes,
                own.scores,
                own.labels,
                paste(masks[image], own.boxes, originals[image], self.config.infer.mask),
                own.scores * quality[image].to(own.scores) if quality is not None else None,
            )
            for image, own in enumerate(found)
        ]

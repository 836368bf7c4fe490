"""Two-stage detectors and segmenters: features, proposals, stages of heads, masks."""

import re
from typing import Any

import torch
from torch import Tensor, nn

from fusion.errors import InputError
from zoo.config import Model
from zoo.data.record import Target
from zoo.nn.backbones import build_backbone
from zoo.nn.box_heads import BoxStage
from zoo.nn.cascade import BoxCascade
from zoo.nn.detections import Detections, pick, rescaled
from zoo.nn.draws import Draws
from zoo.nn.fpn import Pyramid, Pyramids
from zoo.nn.geometry import as_regions
from zoo.nn.mask_head import MaskBranch
from zoo.nn.mask_stages import MaskStages, build_masks
from zoo.nn.paste import paste
from zoo.nn.rpn import ProposalNetwork
from zoo.nn.stuff import StuffBranch

__all__ = ["Detections", "TwoStage", "build"]

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_DIVISOR = 32


class TwoStage(nn.Module):
    """A model of the zoo.

    In training it returns a dict of losses whose sum is minimised; otherwise the detections of each image, in pixels
    of the image on disk. The number of forward passes in training is part of the weights: with it, the seed and
    the image's id, every draw is the same wherever and however often a training was interrupted.

    Args:
        config: What it is made of.
        num_classes: Classes without background.
        pretrained: Load pre-trained weights where the config asks for them.
    """

    def __init__(self, config: Model, num_classes: int, pretrained: bool = True) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        self.seed = config.train.seed
        self.backbone = build_backbone(config.backbone, pretrained)
        self.neck = Pyramid(config.neck, self.backbone.channels)
        self.own_necks = nn.ModuleDict(
            {task: Pyramid(config.neck, self.backbone.channels) for task in config.own_necks}
        )
        if config.neck.passes > 1 and not self.backbone.runs_by_stages:
            raise InputError("neck.passes", "this backbone cannot be run stage by stage", "Set it to 1")
        channels = config.neck.channels
        self.rpn = ProposalNetwork(config.rpn, channels)
        count = len(config.cascade.iou)
        heads = [BoxStage(config, channels, num_classes) for _ in range(count)]
        self.boxes = BoxCascade(heads, config.cascade, config.sampling, config.rpn.ignore_iof)
        self.masks = build_masks(config.mask, channels, num_classes, count) if config.mask else None
        self.stuff = StuffBranch(config.stuff, channels) if config.stuff else None
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)
        self._frozen: list[nn.Module] = []
        self.freeze(config.train.freeze)

    def forward(
        self, images: list[Tensor], targets: list[Target] | None = None, given: list[Detections] | None = None
    ) -> Any:
        """Train on images, or find what is in them.

        Args:
            images: float32 [3, h, w] in 0..1, of any sizes.
            targets: Annotations in training; otherwise they only say how large the images on disk are.
            given: Boxes, labels and scores to which masks are to be added, in pixels of the image on disk. They come
                back as they are.

        Returns:
            {name: loss} in training, else a list of `Detections`.

        Raises:
            InputError: If a target lacks what a head needs.
        """
        batch, sizes = self._batch(images)
        pyramids = self.features(batch)
        if self.training:
            if targets is None:
                raise InputError("TwoStage.forward", "training needs targets, got none")
            return self._losses(pyramids, sizes, [target.to(batch.device) for target in targets])
        originals = [target.original_size for target in targets] if targets is not None else sizes
        if given is not None:
            return self._with_masks(pyramids, given, sizes, originals)
        return self._detect(pyramids, sizes, originals)

    def features(self, batch: Tensor) -> Pyramids:
        """Return the pyramid of each task of normalised, padded images [b, 3, h, w]."""
        maps = self.backbone(batch)
        pyramid: list[Tensor] = self.neck(maps)
        for _ in range(self.config.neck.passes - 1):
            maps = self.backbone(batch, self.neck.feedback(pyramid))
            pyramid = self.neck(maps)
        own = {task: neck(maps) for task, neck in self.own_necks.items()}
        return Pyramids.shared(pyramid)._replace(**own)

    def freeze(self, patterns: tuple[str, ...]) -> None:
        """Stop training the parameters whose names match; their modules stay in evaluation mode.

        Args:
            patterns: Regular expressions that match at the start of names such as "backbone" or "rpn.conv".

        Raises:
            InputError: If one matches nothing.
        """
        for pattern in patterns:
            expression = re.compile(pattern)
            names = [name for name, _ in self.named_parameters() if expression.match(name)]
            if not names:
                raise InputError("train.freeze", f"{pattern!r} matches no parameter")
            for name in names:
                self.get_parameter(name).requires_grad_(False)
        for module in self.modules():
            own = list(module.parameters())
            if patterns and own and not any(parameter.requires_grad for parameter in own):
                self._frozen.append(module)
        self.train(self.training)

    def train(self, mode: bool = True) -> "TwoStage":
        """Switch between training and evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def _batch(self, images: list[Tensor]) -> tuple[Tensor, list[tuple[int, int]]]:
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        height = -(-max(size[0] for size in sizes) // _DIVISOR) * _DIVISOR
        width = -(-max(size[1] for size in sizes) // _DIVISOR) * _DIVISOR
        device = self.get_buffer("mean").device
        batch = torch.zeros(len(images), 3, height, width, device=device)
        for index, image in enumerate(images):
            normal = (image.to(device, torch.float32) - self.get_buffer("mean")) / self.get_buffer("std")
            batch[index, :, : image.shape[1], : image.shape[2]] = normal
        return batch, sizes

    def _losses(self, pyramids: Pyramids, sizes: list[tuple[int, int]], targets: list[Target]) -> dict[str, Tensor]:
        step = int(self.get_buffer("passes"))
        draws = [Draws(self.seed, step, target.image_id) for target in targets]
        self.get_buffer("passes").add_(1)
        scored = self.rpn(pyramids.proposals)
        losses: dict[str, Tensor] = self.rpn.losses(scored, targets, draws)
        proposals = self.rpn.propose(scored, sizes, targets)
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
        for task in self.own_necks:  # no region may have been pooled from some of its levels
            losses["rpn_objectness"] = losses["rpn_objectness"] + 0 * sum(
                level.sum() for level in getattr(pyramids, task)
            )
        return losses

    def _detect(
        self, pyramids: Pyramids, sizes: list[tuple[int, int]], originals: list[tuple[int, int]]
    ) -> list[Detections]:
        proposals = self.rpn.propose(self.rpn(pyramids.proposals), sizes, None)
        picked = [
            pick(boxes, scores, self.config.infer) for boxes, scores in self.boxes.detect(pyramids, proposals, sizes)
        ]
        found = [
            Detections(rescaled(own.boxes, size, original), own.scores, own.labels)
            for own, size, original in zip(picked, sizes, originals, strict=True)
        ]
        if self.masks is None:
            return found
        return self._drawn(pyramids.masks, found, [own.boxes for own in picked], originals)

    def _with_masks(
        self,
        pyramids: Pyramids,
        given: list[Detections],
        sizes: list[tuple[int, int]],
        originals: list[tuple[int, int]],
    ) -> list[Detections]:
        if self.masks is None:
            raise InputError("TwoStage.forward", "boxes were given to a model without mask head", "Set mask")
        device = pyramids.masks[0].device
        inside = [
            rescaled(own.boxes.to(device, torch.float32), original, size)
            for own, size, original in zip(given, sizes, originals, strict=True)
        ]
        return self._drawn(pyramids.masks, given, inside, originals)

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


def build(config: Model, num_classes: int, device: str | torch.device = "cpu", pretrained: bool = True) -> TwoStage:
    """Build a model from its config.

    Args:
        config: What it is made of; it is validated.
        num_classes: Classes without background.
        device: Where it is to run; "meta" gives shapes without weights.
        pretrained: Load pre-trained weights where the config asks for them; a checkpoint needs none.

    Raises:
        InputError: If parts do not fit together or cannot be built.
    """
    kind = torch.device(device).type
    config.validate("cpu" if kind == "cpu" else "cuda")
    if kind != "meta":
        return TwoStage(config, num_classes, pretrained).to(device)
    with torch.device("meta"):
        return TwoStage(config, num_classes, pretrained=False)

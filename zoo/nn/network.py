"""What all models of the zoo have in common."""

import re
from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fusion.errors import InputError
from zoo.config import FPN, Backbone, Train
from zoo.data.record import Target
from zoo.nn.backbones import build_backbone, pixel_statistics
from zoo.nn.detections import Detections
from zoo.nn.draws import Draws
from zoo.nn.fpn import Pyramid
from zoo.nn.recursion import Recursion

__all__ = ["Network", "PyramidNetwork"]

_DIVISOR = 32


class Network(nn.Module):
    """A model of the zoo: images in; losses in training, otherwise the detections of each image.

    The number of forward passes in training is part of the weights: with it, the seed and the image's id, every draw
    is the same wherever and however often a training was interrupted.

    Attributes:
        boxes_given: Whether boxes are given to it at test: always, never, or as the caller likes.
        moves_boxes: Whether given boxes come back elsewhere; otherwise they come back as they are.
        resizes: Whether it takes pictures at their own size at test, and brings what it cuts out to that of the view.

    Args:
        backbone: Image to C2-C5.
        train: Seed, and what is not trained.
        pretrained: Load pre-trained weights where the config asks for them.
    """

    boxes_given: Literal["always", "never", "maybe"] = "never"
    moves_boxes: bool = False
    resizes: bool = False

    def __init__(self, backbone: Backbone, train: Train, pretrained: bool) -> None:
        super().__init__()
        self.seed = train.seed
        self.backbone = build_backbone(backbone, pretrained)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        for name, values in zip(("mean", "std"), pixel_statistics(backbone), strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self._frozen: list[nn.Module] = []

    @abstractmethod
    def losses(
        self, batch: Tensor, sizes: list[tuple[int, int]], targets: list[Target], draws: list[Draws]
    ) -> dict[str, Tensor]:
        """Return losses by name.

        Args:
            batch: float32 [b, 3, h, w], normalised and padded.
            sizes: Height and width of each image without padding.
            targets: Annotations.
            draws: Random draws of each image.
        """

    @abstractmethod
    def detect(
        self,
        batch: Tensor,
        sizes: list[tuple[int, int]],
        originals: list[tuple[int, int]],
        given: list[Detections] | None,
    ) -> list[Detections]:
        """Return what is in each image.

        Args:
            batch: float32 [b, 3, h, w], normalised and padded.
            sizes: Height and width of each image without padding.
            originals: Those of the images on disk, in whose pixels the answers are.
            given: Boxes, labels and scores to start from.
        """

    def forward(
        self, images: list[Tensor], targets: list[Target] | None = None, given: list[Detections] | None = None
    ) -> Any:
        """Train on images, or find what is in them.

        Args:
            images: float32 [3, h, w] in 0..1, of any sizes.
            targets: Annotations in training; otherwise they only say how large the images on disk are.
            given: Boxes, labels and scores of each image, in pixels of the image on disk, in the order in which they
                come back: with masks, or moved.

        Returns:
            {name: loss} in training, else a list of `Detections`.

        Raises:
            InputError: If a target lacks what a head needs, or boxes are given where none are taken.
        """
        batch, sizes = self._batch(images)
        if self.training:
            if targets is None:
                raise InputError(f"{type(self).__name__}.forward", "training needs targets, got none")
            step = int(self.get_buffer("passes"))
            draws = [Draws(self.seed, step, target.image_id) for target in targets]
            self.get_buffer("passes").add_(1)
            return self.losses(batch, sizes, [target.to(batch.device) for target in targets], draws)
        originals = [target.original_size for target in targets] if targets is not None else sizes
        if given is None and self.boxes_given == "always":
            raise InputError(f"{type(self).__name__}.forward", "takes boxes, got none")
        if given is not None and self.boxes_given == "never":
            problem = "boxes were given to a model without mask head"
            raise InputError(f"{type(self).__name__}.forward", problem, "Set mask")
        return self.detect(batch, sizes, originals, given)

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

    def train(self, mode: bool = True) -> "Network":
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


class PyramidNetwork(Network):
    """A model with a feature pyramid.

    Args:
        backbone: Image to C2-C5.
        neck: C2-C5 to P2-P6.
        train: Seed, and what is not trained.
        pretrained: Load pre-trained weights where the config asks for them.
    """

    def __init__(self, backbone: Backbone, neck: FPN, train: Train, pretrained: bool) -> None:
        super().__init__(backbone, train, pretrained)
        self.neck = Pyramid(neck, self.backbone.channels)
        self.backbone_again = nn.ModuleList()
        self.neck_recursion: Recursion | None = None
        self.trunk_passes = neck.passes
        if neck.passes > 1:
            if not self.backbone.takes_feedback:
                raise InputError("neck.passes", "nothing can be fed back into this backbone", "Set it to 1")
            self.neck_recursion = Recursion(neck, self.backbone.channels)
            if not neck.share:
                self.backbone_again.extend(build_backbone(backbone, pretrained) for _ in range(neck.passes - 1))

    def look(self, batch: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the last maps C2-C5 of normalised, padded images [b, 3, h, w], and their pyramid P2-P6."""
        maps: list[Tensor] = self.backbone(batch)
        pyramid: list[Tensor] = self.neck(maps)
        if self.neck_recursion is not None:
            for number in range(self.trunk_passes - 1):
                trunk = self.backbone_again[number] if self.backbone_again else self.backbone
                maps = trunk(batch, self.neck_recursion.feedback(pyramid, number))
                pyramid = self.neck_recursion.joined(pyramid, self.neck(maps))
        return maps, pyramid

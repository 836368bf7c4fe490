"""Segmentation of boxes: what each holds is cut out, told from its background pixel by pixel, and put back."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.config import CropSegmenter
from zoo.data.crops import Region, region_of
from zoo.data.masks import mask_pixels, pack
from zoo.data.record import Target
from zoo.data.transforms import fitting_size
from zoo.data.views import View
from zoo.nn.detections import Detections
from zoo.nn.draws import Draws
from zoo.nn.losses import shared_count
from zoo.nn.network import Network
from zoo.nn.norms import convert

__all__ = ["CropNetwork", "paste_back"]

_IGNORED = 255
_TOGETHER = 16  # crops that go through the network at a time


class CropNetwork(Network):
    """A network that tells foreground from background in crops, whatever the category.

    In training its images are crops with one object each. At test they are whole pictures with boxes, of which each is
    cut out, and gets a mask; boxes, scores and labels come back as they are.

    Args:
        config: What it is made of.
        pretrained: Load pre-trained weights where the config asks for them.
    """

    boxes_given = "always"
    resizes = True

    def __init__(self, config: CropSegmenter, pretrained: bool = True) -> None:
        super().__init__(config.backbone, config.train, pretrained)
        self.config = config
        channels = sum(self.backbone.channels)
        mixed = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        norm = config.backbone.norm
        self.mix = convert(mixed, "bn" if norm == "frozen" else norm)
        self.classify = nn.Conv2d(channels, 2, 1)
        self.freeze(config.train.freeze)

    def logits(self, batch: Tensor) -> Tensor:
        """Return logits of background and foreground, float32 [b, 2, h, w], of normalised images [b, 3, h, w]."""
        maps = self.backbone(batch)
        size = maps[0].shape[-2:]
        joined = [functional.interpolate(own, size, mode="bilinear", align_corners=False) for own in maps]
        found = self.classify(self.mix(torch.cat(joined, 1))).float()
        return functional.interpolate(found, batch.shape[-2:], mode="bilinear", align_corners=False)

    def losses(
        self, batch: Tensor, sizes: list[tuple[int, int]], targets: list[Target], draws: list[Draws]
    ) -> dict[str, Tensor]:
        """Return "mask", the mean cross entropy of the pixels of crops."""
        truth = torch.full((len(batch), *batch.shape[-2:]), _IGNORED, dtype=torch.int64, device=batch.device)
        weight = batch.new_ones(len(batch))
        for number, (target, (height, width)) in enumerate(zip(targets, sizes, strict=True)):
            masks = [mask for mask in target.masks or () if mask is not None]
            if masks:
                inside = np.any([mask_pixels(mask, (height, width)) for mask in masks], axis=0)
                truth[number, :height, :width] = torch.from_numpy(inside).to(truth)
                weight[number] = target.loss_weight * target.box_weight.mean()
        each = functional.cross_entropy(self.logits(batch), truth, ignore_index=_IGNORED, reduction="none")
        count = shared_count(int((truth != _IGNORED).sum()), each)
        return {"mask": (each.sum((1, 2)) * weight).sum() / count}

    def forward(
        self,
        images: list[Tensor],
        targets: list[Target] | None = None,
        given: list[Detections] | None = None,
        view: View | None = None,
    ) -> Any:
        """Train on crops, or give the boxes of whole images masks.

        Args:
            images: float32 [3, h, w] in 0..1, of any sizes; at test as they are on disk.
            targets: Annotations, in training.
            given: Boxes, labels and scores of each image, in its pixels.
            view: To which size crops are brought; that of the configuration where it is not given.

        Returns:
            {name: loss} in training, else a list of `Detections`.

        Raises:
            InputError: If boxes are missing.
        """
        if self.training or given is None:
            return super().forward(images, targets)
        if view is None:
            view = View(*self.config.infer.sizes(self.config.data)[0])
        return [self._masked(image, own, view) for image, own in zip(images, given, strict=True)]

    def _masked(self, image: Tensor, given: Detections, view: View) -> Detections:
        assert self.config.data.crop is not None
        size = int(image.shape[-2]), int(image.shape[-1])
        boxes, same = torch.unique(given.boxes, dim=0, return_inverse=True)  # one object may have several labels
        regions = [region_of(box, size, self.config.data.crop.pad) for box in boxes.tolist()]
        masks = [pack(np.zeros(size, np.uint8))] * len(regions)
        shown: dict[tuple[int, int], list[int]] = {}  # by the size of their crops, which are not padded apart then
        for number, (_, _, height, width) in enumerate(regions):
            if height > 0 and width > 0:
                shown.setdefault(self._size((height, width), view), []).append(number)
        for crop_size, numbers in shown.items():
            for start in range(0, len(numbers), _TOGETHER):
                some = numbers[start : start + _TOGETHER]
                crops = [_cut(image, regions[number], crop_size) for number in some]
                for number, map_ in zip(some, self._foreground(crops), strict=True):
                    masks[number] = paste_back(map_, regions[number], size, self.config.infer.mask)
        return Detections(given.boxes, given.scores, given.labels, [masks[place] for place in same.tolist()])

    def _size(self, size: tuple[int, int], view: View) -> tuple[int, int]:
        """Return height and width of a crop as the network sees it."""
        assert view.short is not None
        assert view.long is not None
        square = self.config.data.crop is not None and self.config.data.crop.square
        return (view.short, view.short) if square else fitting_size(size, view.short, view.long)

    def _foreground(self, crops: list[Tensor]) -> Tensor:
        """Return the probability of foreground, float32 [n, h, w], of crops of one size."""
        height, width = crops[0].shape[-2:]
        looks = [crops, [crop.flip(-1) for crop in crops]] if self.config.infer.flip else [crops]
        maps = [self.logits(self._batch(look)[0])[:, :, :height, :width].softmax(1)[:, 1] for look in looks]
        return maps[0] if len(maps) == 1 else (maps[0] + maps[1].flip(-1)) / 2


def paste_back(probability: Tensor, region: Region, size: tuple[int, int], threshold: float) -> dict[str, Any]:
    """Return the mask of an image from what was found in a part of it.

    Args:
        probability: float32 [h, w], of the part at any size.
        region: Where the part lies.
        size: Height and width of the image.
        threshold: From which on a pixel belongs to the mask.

    Returns:
        COCO RLE.
    """
    top, left, height, width = region
    own = functional.interpolate(
        probability[None, None].float(), (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    pixels = np.zeros(size, np.uint8)
    pixels[top : top + height, left : left + width] = (own[0, 0] >= threshold).cpu().numpy()
    return pack(pixels)


def _cut(image: Tensor, region: Region, size: tuple[int, int]) -> Tensor:
    """Return a part of an image [3, h, w] at another height and width."""
    top, left, height, width = region
    part = image[None, :, top : top + height, left : left + width].float()
    return functional.interpolate(part, size, mode="bilinear", align_corners=False, antialias=True)[0]

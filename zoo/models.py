"""Building any model of the zoo."""

import torch

from zoo.config import AnyModel, CropSegmenter, Model, Refiner
from zoo.crop_network import CropNetwork
from zoo.nn.network import Network
from zoo.rcnn import TwoStage
from zoo.refiner import BoxRefiner

__all__ = ["Network", "build"]


def build(config: AnyModel, num_classes: int, device: str | torch.device = "cpu", pretrained: bool = True) -> Network:
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
        return _made(config, num_classes, pretrained).to(device)
    with torch.device("meta"):
        return _made(config, num_classes, pretrained=False)


def _made(config: AnyModel, num_classes: int, pretrained: bool) -> Network:
    match config:
        case Model():
            return TwoStage(config, num_classes, pretrained)
        case Refiner():
            return BoxRefiner(config, pretrained)
        case CropSegmenter():
            return CropNetwork(config, pretrained)

"""torchvision's Faster R-CNN trained and run by `quorum train` and `quorum predict`, for what they do alike.

    python -m benchmarks.torchvision_member train md19_r50_fpn --data ... -o runs/torchvision --set ...
    python -m benchmarks.torchvision_member predict runs/torchvision --data ...

It takes the place of the model that the settings describe, with their backbone, pyramid, RPN, starting weights,
anchors, regions, channels and limits (`Peer` of `benchmarks.zoo_torchvision`), and gets the same batches in the same
order, the same optimizer, schedule and averaging, and the same views. What remains its own: rounded anchors, unaligned
RoIAlign, losses, starting weights of the head, draws.
"""

import torch
from torch import nn

import quorum
import zoo.inference
import zoo.training
from benchmarks.zoo_torchvision import Peer
from zoo.config import Model
from zoo.models import build

__all__ = ["main"]


def _build(config: Model, num_classes: int, device: str | torch.device = "cpu", pretrained: bool = True) -> nn.Module:
    return Peer(build(config, num_classes, pretrained=pretrained)).to(device)  # type: ignore[arg-type]


def main() -> None:
    """Run a command of quorum's with torchvision's model in place of ours."""
    zoo.training.build = zoo.inference.build = _build  # type: ignore[assignment]
    quorum.main()


if __name__ == "__main__":
    main()

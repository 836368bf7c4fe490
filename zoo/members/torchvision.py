"""torchvision's detectors and segmenters, with weights from a file."""

from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import detection, get_model, get_model_builder, get_model_weights, list_models

from fusion.errors import InputError, option
from zoo.members.base import ForeignModel, InPicture, Label, Wanted, packed
from zoo.store import hash_of
from zoo.weights_files import read_weights

__all__ = ["TorchvisionModel"]

_WITHOUT_EPS = tuple(f"{kind}_resnet50_fpn" for kind in ("fasterrcnn", "keypointrcnn", "maskrcnn", "retinanet"))
_MASK = 0.5  # as torchvision's documents draw masks


class TorchvisionModel(ForeignModel):
    """A model of `torchvision.models.detection`; settings are the arguments of its builder.

    Its number of categories is that of the weights. Where it is that of torchvision's own weights, their names are
    taken; others have numbers only.
    """

    packages = ("torchvision",)
    form = "torchvision:fasterrcnn_resnet50_fpn_v2 --weights weights.pth"

    def __init__(self, source: str, wanted: Wanted, device: torch.device) -> None:
        known = list_models(module=detection)
        if source not in known:
            raise InputError(f"torchvision:{source}", f"expected one of {', '.join(known)}")
        if wanted.weights is None:
            problem = f"needs {option('weights')}: nothing is downloaded"
            raise InputError(f"torchvision:{source}", problem, f"As in {self.form}")
        weights = read_weights(self.existing(wanted.weights))
        settings = dict(wanted.settings)
        count = _categories(source, settings, weights, wanted.weights)
        self._net = _built(source, settings | {"num_classes": count})
        try:
            self._net.load_state_dict(weights)
        except RuntimeError as error:
            problem = f"its weights are not those of {source} ({str(error).splitlines()[-1].strip()})"
            raise InputError(wanted.weights, problem, "Name the model that they are of") from error
        if _is_first(source, wanted.weights):
            for module in self._net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eps = 0.0
        self._net.to(device).eval()
        self._sizes = self._net.transform.min_size, self._net.transform.max_size
        names = get_model_weights(source).DEFAULT.meta["categories"]
        background = Label(0, "__background__")  # which models that score every category by itself may find
        self.labels = (background, *(Label(n, names[n] if len(names) == count else None) for n in range(1, count)))
        self.has_masks = hasattr(self._net, "roi_heads") and self._net.roi_heads.has_mask()
        self.files = (wanted.weights,)

    def find(self, pictures: list[Tensor], size: tuple[int, int] | None) -> list[InPicture]:
        """Find what is in pictures; a size takes the place of torchvision's `min_size` and `max_size`."""
        transform = self._net.transform
        transform.min_size, transform.max_size = self._sizes if size is None else ((size[0],), size[1])
        return [
            InPicture(
                one["boxes"],
                one["scores"],
                one["labels"].tolist(),
                packed(one["masks"][:, 0] >= _MASK) if self.has_masks else None,
            )
            for one in self._net(pictures)
        ]


def _built(name: str, settings: dict[str, Any]) -> Any:
    try:
        net = get_model(name, weights=None, weights_backbone=None, **settings)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"torchvision:{name}", f"cannot be built ({error})", f"Look at {option('settings')}"
        ) from error
    # its classes take what they do not know without a word
    known = {*signature(get_model_builder(name)).parameters, *signature(type(net).__init__).parameters}
    for setting in settings:
        if setting not in known:
            near = get_close_matches(setting, known, n=1)
            remedy = f"Did you mean {near[0]}?" if near else ""
            raise InputError(f"option {option('settings')}", f"{name} has no argument {setting!r}", remedy)
    return net


def _is_first(name: str, file: Path) -> bool:
    """Tell whether these are torchvision's first weights, whose norms are taken without eps, by the hash in their name.

    Its builders know that only where they load the weights themselves.
    """
    first = next((one for one in get_model_weights(name) if one.name == "COCO_V1"), None)
    if first is None or name not in _WITHOUT_EPS:
        return False
    return hash_of(file).startswith(first.url.rpartition("-")[2].partition(".")[0])


def _categories(name: str, settings: dict[str, Any], weights: dict[str, Tensor], file: Path) -> int:
    """Return how many categories weights are for, by how far the shapes of smaller models are from theirs."""
    with torch.device("meta"):
        two, three = (dict(_shapes(_built(name, settings | {"num_classes": n}))) for n in (2, 3))
    for tensor, small in two.items():
        for side, (few, more) in enumerate(zip(small, three[tensor], strict=True)):
            if few != more and tensor in weights and weights[tensor].dim() == len(small):
                return 2 + (weights[tensor].shape[side] - few) // (more - few)
    raise InputError(file, f"has no weights of the last layers of {name}", "Name the model that they are of")


def _shapes(net: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(name, tensor.shape) for name, tensor in net.state_dict().items()]

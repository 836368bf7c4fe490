"""Other people's models as members, one file for each framework: `onnx.py` holds `OnnxModel`. A file adds one."""

import functools
import pkgutil
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fusion.errors import InputError

if TYPE_CHECKING:
    import torch

    from zoo.data import Data
    from zoo.members.base import ForeignModel, Wanted
    from zoo.members.joined import Joined, Joining

__all__ = ["foreign", "framework_names", "is_foreign"]

_OURS = ("base", "joined")


@functools.cache
def framework_names() -> tuple[str, ...]:
    """Return the names of all frameworks, sorted; loads none of them."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name not in _OURS))


def is_foreign(name: str) -> bool:
    """Tell whether a name is of the form FRAMEWORK:MODEL."""
    framework, colon, _ = name.partition(":")
    return bool(colon) and framework in framework_names()


def foreign(
    name: str, wanted: "Wanted", joining: "Joining", data: "Data", member: str
) -> Callable[["torch.device"], "Joined"]:
    """Return what loads a model of another framework, as `zoo.predict.predict` takes it.

    Args:
        name: FRAMEWORK:MODEL, such as torchvision:fasterrcnn_resnet50_fpn_v2.
        wanted: Its weights and settings.
        joining: How its categories are found among those of the data.
        data: What it is to look at.
        member: Name of the member.

    Raises:
        InputError: If the framework is not known or not installed.
    """
    framework, _, source = name.partition(":")
    kind = _framework(framework)
    if missing := [package for package in kind.packages if find_spec(package) is None]:
        raise InputError(
            name,
            f"needs {', '.join(missing)}, which this installation does not have",
            f'Install {"it" if len(missing) == 1 else "them"}: pip install "quorum-detection[{kind.extra}]"',
        )
    if not source:
        raise InputError(name, "names no model", f"Write it as {kind.form}")

    def load(device: "torch.device") -> "Joined":
        from zoo.members.joined import Joined

        return Joined(kind(source, wanted, device), member, name, wanted, joining, data, device)

    return load


def _framework(name: str) -> "type[ForeignModel]":
    if name not in framework_names():
        raise InputError(name, f"expected one of {', '.join(framework_names())} and a colon")
    kind: type[ForeignModel] = getattr(import_module(f"{__name__}.{name}"), f"{name.title()}Model")
    return kind

"""Weights that others have saved: PyTorch's files, read without running any code in them, and safetensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fusion.errors import InputError

__all__ = ["read_weights"]

_INSIDE = ("state_dict", "model_state_dict", "model", "ema_state_dict")  # where trainings keep them beside other things
_WRAPPERS = ("module.", "_orig_mod.")  # what parallel and compiled models put before each name


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors by name from `.safetensors`, or from `.pth`, `.pt`, `.bin` with `weights_only=True`.

    Raises:
        InputError: If the file is missing, damaged, holds anything but tensors and plain values, or no tensors.
    """
    if not path.is_file():
        raise InputError(path, "there is no such file of weights", "Name a .pth, .pt or .safetensors file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise InputError(path, f"expected a safetensors file ({error})", "Fetch it again") from error
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever is not a file of tensors fails in a way of its own
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            path,
            f"expected tensors by name, and it is damaged or holds objects whose code would have to be run ({problem})",
            "Save the weights alone where it was made: torch.save(model.state_dict(), 'weights.pth')",
        ) from error
    for name in _INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    weights = (
        {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not weights:
        raise InputError(path, "expected tensors by name, found none", "Save model.state_dict()")
    for wrapper in _WRAPPERS:
        if all(name.startswith(wrapper) for name in weights):
            weights = {name.removeprefix(wrapper): value for name, value in weights.items()}
    return weights

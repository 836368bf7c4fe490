"""A function of one's own that finds objects in pictures: for whatever else there is."""

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusion.errors import InputError
from zoo.data.transforms import fitting_size
from zoo.members.base import ForeignModel, InPicture, Wanted, as_pixels, brought_back, packed, shown

__all__ = ["PythonModel"]


class PythonModel(ForeignModel):
    """A function from pictures to columns; settings are further arguments of it.

    It takes a list of pictures, uint8 [height, width, 3] in red, green and blue, and returns a mapping for each:

        boxes: [n, 4], left, top, right and bottom in pixels of the picture.
        scores: [n].
        labels: [n] names of categories, or ids of the data's.
        masks: bool [n, height, width]; in each answer or in none, and then `function.has_masks` is true.
    """

    form = "python:mypackage.module:function"

    def __init__(self, source: str, wanted: Wanted, device: torch.device) -> None:
        module, colon, name = source.partition(":")
        if not (module and colon and name):
            raise InputError(f"python:{source}", "expected a module, a colon and a function", f"As in {self.form}")
        if wanted.weights is not None:
            raise InputError(f"python:{source}", "a function has no weights", "Let the function load them")
        if os.getcwd() not in sys.path:  # noqa: PTH109 - as texts, which sys.path has
            sys.path.append(os.getcwd())  # noqa: PTH109
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"python:{source}", f"cannot be imported ({error})", f"As in {self.form}") from error
        if not callable(found):
            raise InputError(f"python:{source}", f"expected a function, {name} is a {type(found).__name__}")
        self._function: Callable[..., Any] = found
        self._settings, self._where = dict(wanted.settings), f"python:{source}"
        self.has_masks = bool(getattr(found, "has_masks", False))
        file = inspect.getsourcefile(inspect.unwrap(found)) if inspect.isroutine(found) else None
        self.files = (Path(file),) if file else ()

    def find(self, pictures: list[Tensor], size: tuple[int, int] | None) -> list[InPicture]:
        """Show the function pictures, at a size if one is asked for."""
        own = [(int(picture.shape[1]), int(picture.shape[2])) for picture in pictures]
        seen = own if size is None else [fitting_size(one, *size) for one in own]
        pixels = [as_pixels(shown(*one)) for one in zip(pictures, seen, strict=True)]
        answers = self._function(pixels, **self._settings)
        if len(answers) != len(pictures):
            raise InputError(self._where, f"was shown {len(pictures)} pictures, and answered {len(answers)}")
        found = [self._found(*one) for one in zip(answers, seen, strict=True)]
        return [brought_back(*one) for one in zip(found, seen, own, strict=True)]

    def _found(self, answer: Any, size: tuple[int, int]) -> InPicture:
        needed = ("boxes", "scores", "labels", *(("masks",) if self.has_masks else ()))
        if not isinstance(answer, Mapping) or set(answer) != set(needed):
            got = ", ".join(map(str, answer)) if isinstance(answer, Mapping) else type(answer).__name__
            remedy = "Set function.has_masks = True where it answers with masks" if "masks" in got else ""
            raise InputError(self._where, f"expected answers with {', '.join(needed)}, got {got}", remedy)
        boxes = np.asarray(answer["boxes"], np.float32).reshape(-1, 4)
        scores = np.asarray(answer["scores"], np.float32)
        labels = np.asarray(answer["labels"]).tolist()
        if not len(boxes) == len(scores) == len(labels):
            problem = f"answered {len(boxes)} boxes, {len(scores)} scores and {len(labels)} labels of one picture"
            raise InputError(self._where, problem)
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise InputError(self._where, "answered a box or a score that is no finite number")
        masks = None
        if self.has_masks:
            masks = packed(torch.from_numpy(np.asarray(answer["masks"], np.bool_).reshape(len(boxes), *size)))
        return InPicture(torch.from_numpy(boxes), torch.from_numpy(scores), labels, masks)

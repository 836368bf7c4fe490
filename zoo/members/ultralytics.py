"""Ultralytics' YOLO and RT-DETR; the package is under the AGPL and never comes with this one."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusion.errors import InputError, option
from zoo.members.base import ForeignModel, InPicture, Label, Wanted, as_pixels, packed
from zoo.weights_files import read_weights

__all__ = ["UltralyticsModel"]

_AS_MEASURED = {"conf": 0.001, "iou": 0.7, "max_det": 300}  # what its own `val` measures AP with
_TASKS = ("detect", "segment")


class UltralyticsModel(ForeignModel):
    """A `.pt` file of Ultralytics, or a `.yaml` with weights apart; settings are the arguments of `predict`.

    A `.pt` file is a pickle, and reading it runs code that is in it: name only files that you trust. The weights of a
    `.yaml` are a plain state dict (of `YOLO(...).model`), of which nothing is run.
    """

    packages = ("ultralytics",)
    extra = "ultralytics"
    form = "ultralytics:best.pt, or ultralytics:yolo11n.yaml --weights weights.pth"

    def __init__(self, source: str, wanted: Wanted, device: torch.device) -> None:
        where = f"ultralytics:{source}"
        if not source.endswith((".pt", ".yaml")):
            raise InputError(where, "expected a .pt or a .yaml file", f"As in {self.form}")
        if source.endswith(".yaml") != (wanted.weights is not None):
            needs = "needs its weights" if wanted.weights is None else "has its weights in it"
            raise InputError(where, f"{needs}; {option('weights')} goes with a .yaml file", f"As in {self.form}")
        if wanted.weights is None:
            self.existing(source)
        # what the framework does over the network by itself: telling its makers of each use, installing packages
        os.environ.setdefault("YOLO_OFFLINE", "true")
        os.environ.setdefault("YOLO_AUTOINSTALL", "false")
        from ultralytics import YOLO

        try:
            self._model: Any = YOLO(source, verbose=False)
        except Exception as error:  # it raises whatever comes
            raise InputError(
                where, f"cannot be read ({type(error).__name__}: {error})", f"As in {self.form}"
            ) from error
        if self._model.task not in _TASKS:
            raise InputError(where, f"is a model to {self._model.task}, expected one to {' or '.join(_TASKS)}")
        if wanted.weights is not None:
            try:
                self._model.model.load_state_dict(read_weights(wanted.weights))
            except RuntimeError as error:
                problem = f"its weights are not those of {source} ({str(error).splitlines()[-1].strip()})"
                raise InputError(wanted.weights, problem) from error
        names = self._model.names
        self._settings = {**_AS_MEASURED, **wanted.settings, "device": device, "verbose": False, "save": False}
        self.labels = tuple(Label(number, names[number]) for number in sorted(names))
        self.has_masks = self._model.task == "segment"
        self.files = (Path(source),) if wanted.weights is None else (wanted.weights,)

    def find(self, pictures: list[Tensor], size: tuple[int, int] | None) -> list[InPicture]:
        """Find what is in pictures; of a size the longest side takes the place of `imgsz`."""
        asked = {} if size is None else {"imgsz": size[1]}
        if self.has_masks:
            asked["retina_masks"] = True  # masks of the size of the picture
        given = [as_pixels(picture)[..., ::-1] for picture in pictures]  # it takes blue, green and red
        try:
            answers = self._model.predict(given, **(self._settings | asked))
        except (SyntaxError, TypeError, ValueError) as error:
            raise InputError(f"option {option('settings')}", str(error).strip().splitlines()[-1]) from error
        return [self._found(one) for one in answers]

    def _found(self, answer: Any) -> InPicture:
        boxes, masks = answer.boxes, None
        if self.has_masks:
            masks = [] if answer.masks is None else packed(answer.masks.data > 0)
        return InPicture(boxes.xyxy.float(), boxes.conf.float(), boxes.cls.long().tolist(), masks)

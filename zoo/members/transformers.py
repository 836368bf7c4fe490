"""Detectors and instance segmenters of Hugging Face's transformers, from a folder on disk."""

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusion.errors import InputError, option
from zoo.members.base import ForeignModel, InPicture, Label, Wanted, as_pixels, packed

__all__ = ["TransformersModel"]

_TASKS = {
    "ForObjectDetection": "post_process_object_detection",
    "ForUniversalSegmentation": "post_process_instance_segmentation",
    "ForInstanceSegmentation": "post_process_instance_segmentation",
}


class TransformersModel(ForeignModel):
    """A folder that `save_pretrained` of a model and of its image processor has written.

    Settings are those of the processor's post-processing; `threshold` is 0 where it is not set, as AP asks for. Code in
    the folder is not run.
    """

    packages = ("transformers",)
    extra = "transformers"
    form = "transformers:folder/"

    def __init__(self, source: str, wanted: Wanted, device: torch.device) -> None:
        folder = self.existing(source)
        where = f"transformers:{source}"
        if wanted.weights is not None:
            raise InputError(where, "its weights are in its folder", f"Leave out {option('weights')}")
        import transformers

        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            kind = (config.architectures or ["none"])[0]
            task = next((task for end, task in _TASKS.items() if kind.endswith(end)), None)
            if task is None:
                problem = f"holds {kind}, expected a model {', '.join(_TASKS)}"
                raise InputError(where, problem, "Save such a model")
            self._processor: Any = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            self._net: Any = getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            problem = f"cannot be read as a model and its image processor ({str(error).splitlines()[0]})"
            raise InputError(where, problem, "Write both there with save_pretrained") from error
        self._net.to(device).eval()
        self.has_masks = "segmentation" in task
        self._process = getattr(self._processor, task)
        known = set(inspect.signature(self._process).parameters) - {"outputs", "target_sizes", *_OURS}
        for name in wanted.settings:
            if name not in known:
                problem = f"{kind} has no setting {name!r}; it has {', '.join(sorted(known))}"
                raise InputError(f"option {option('settings')}", problem)
        self._settings = {"threshold": 0.0, **wanted.settings, **(_MAPS if self.has_masks else {})}
        self.labels = tuple(Label(int(number), name) for number, name in config.id2label.items())
        self.files = tuple(sorted(path for path in folder.iterdir() if path.suffix in _FILES))

    def find(self, pictures: list[Tensor], size: tuple[int, int] | None) -> list[InPicture]:
        """Find what is in pictures; a size takes the place of the processor's."""
        asked = {} if size is None else {"size": self._size(size)}
        given = self._processor(
            [as_pixels(picture) for picture in pictures],
            return_tensors="pt",
            input_data_format="channels_last",
            **asked,
        )
        inputs = {name: given[name].to(self._net.device) for name in ("pixel_values", "pixel_mask") if name in given}
        sizes = [(int(picture.shape[1]), int(picture.shape[2])) for picture in pictures]
        answers = self._process(self._net(**inputs), target_sizes=sizes, **self._settings)
        return [self._segments(one) if self.has_masks else _boxes(one) for one in answers]

    def _size(self, size: tuple[int, int]) -> dict[str, int]:
        if dict(self._processor.size).get("shortest_edge") is not None:
            return {"shortest_edge": size[0], "longest_edge": size[1]}
        return {"height": size[0], "width": size[0]}  # of processors that make every picture square

    def _segments(self, answer: dict[str, Any]) -> InPicture:
        parts = answer["segments_info"]
        masks = answer["segmentation"] > 0 if parts else torch.zeros(0, 1, 1, dtype=torch.bool)
        return InPicture(
            torch.from_numpy(np.array([_bounds(mask) for mask in masks], np.float32).reshape(-1, 4)),
            torch.tensor([part["score"] for part in parts], dtype=torch.float32),
            [int(part["label_id"]) for part in parts],
            packed(masks),
        )


_MAPS = {"return_binary_maps": True}
_OURS = ("kwargs", "return_binary_maps", "return_coco_annotation", "label_ids_to_fuse")
_FILES = (".json", ".safetensors", ".bin")


def _boxes(answer: dict[str, Any]) -> InPicture:
    return InPicture(answer["boxes"].float(), answer["scores"].float(), answer["labels"].tolist())


def _bounds(mask: Tensor) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the pixels of bool [h, w]."""
    rows, columns = torch.nonzero(mask.any(1)).flatten(), torch.nonzero(mask.any(0)).flatten()
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

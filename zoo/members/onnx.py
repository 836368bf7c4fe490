"""Models in ONNX files, run by onnxruntime; a TOML file says what goes in and what comes out."""

from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_convert

from fusion.errors import InputError, option
from zoo.data.transforms import fitting_size
from zoo.members.base import ForeignModel, InPicture, Label, Wanted, brought_back, packed, shown

__all__ = ["OnnxModel"]


class _Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a picture goes in.

    Attributes:
        size: Height and width; None for the picture's own, or that of the view.
        fit: Whether the picture is stretched to `size`, or keeps its shape and is filled up to the right and below.
        scale: Of pixels in 0..1, which are multiplied by it, before `mean` is subtracted and `std` divides.
        mean: Red, green and blue.
        std: Red, green and blue.
        fill: What it is filled up with, in 0..1.
        bgr: Blue first.
        layout: Order of the axes.
        dtype: Of the numbers.
    """

    size: tuple[int, int] | None = None
    fit: Literal["stretch", "pad"] = "stretch"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    fill: float = 0.0
    bgr: bool = False
    layout: Literal["nchw", "nhwc", "chw", "hwc"] = "nchw"
    dtype: Literal["float32", "float16", "uint8"] = "float32"


class _Outputs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes out, by the names of the outputs.

    Attributes:
        boxes: [n, 4]; a batch of one before it is taken away, here and below.
        scores: [n], or [n, categories], of which each gives a detection.
        labels: [n]; None where scores have a column for each category.
        masks: [n, height, width] of the input picture; None without masks.
        box_format: What the numbers of a box are.
        normalized: Whether boxes are shares of the input's sides, not pixels of it.
        first: Number of the first category.
        background: Whether the first column of scores is the background's.
        score: Detections below are dropped.
        nms_iou: From which IoU on a better box of its category suppresses another; None without.
        detections: The most per picture.
        mask: From which value on a pixel belongs to a mask.
    """

    boxes: str
    scores: str
    labels: str | None = None
    masks: str | None = None
    box_format: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    normalized: bool = False
    first: int = 0
    background: bool = False
    score: float = 0.001
    nms_iou: float | None = None
    detections: int = 300
    mask: float = 0.5


class _Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    categories: tuple[str, ...]
    outputs: _Outputs
    input: _Input = _Input()


class OnnxModel(ForeignModel):
    """A file `MODEL.onnx` with its description beside it, `MODEL.toml`, or named by the setting `description`."""

    packages = ("onnxruntime",)
    extra = "onnx"
    form = "onnx:model.onnx, with model.toml beside it"

    def __init__(self, source: str, wanted: Wanted, device: torch.device) -> None:
        file = self.existing(source)
        if wanted.weights is not None or set(wanted.settings) - {"description"}:
            raise InputError(f"onnx:{source}", f"takes no {option('weights')}, and no setting but description")
        said = self.existing(str(wanted.settings.get("description", file.with_suffix(".toml"))))
        try:
            description = msgspec.toml.decode(said.read_bytes(), type=_Description)
        except (msgspec.MsgspecError, OSError, UnicodeDecodeError) as error:
            raise InputError(said, f"does not describe a model ({error})", "docs/foreign-members.md has one") from error
        import onnxruntime

        chosen = ["CUDAExecutionProvider"] if device.type == "cuda" else []
        there = onnxruntime.get_available_providers()
        providers = [name for name in (*chosen, "CPUExecutionProvider") if name in there]
        try:
            self._session: Any = onnxruntime.InferenceSession(str(file), providers=providers)
        except Exception as error:  # its errors are of classes of their own
            raise InputError(file, f"cannot be read as an ONNX model ({error})") from error
        self._input, self._outputs = description.input, description.outputs
        names = [one.name for one in self._session.get_outputs()]
        self._wanted = [n for n in _names(description.outputs) if n is not None]
        for name in self._wanted:
            if name not in names:
                raise InputError(said, f"names the output {name!r}, {file.name} has {', '.join(names)}")
        self.labels = tuple(Label(n, name) for n, name in enumerate(description.categories, description.outputs.first))
        self.has_masks = description.outputs.masks is not None
        self.files = (file, said)
        self._where = str(said)

    def find(self, pictures: list[Tensor], size: tuple[int, int] | None) -> list[InPicture]:
        """Find what is in pictures, one after the other; a fixed size of the input is kept whatever is asked for."""
        return [self._find(picture.cpu(), size) for picture in pictures]

    def _find(self, picture: Tensor, size: tuple[int, int] | None) -> InPicture:
        given, own = self._input, (int(picture.shape[1]), int(picture.shape[2]))
        seen = own if size is None else fitting_size(own, *size)
        if given.size is not None:
            scale = min(given.size[0] / own[0], given.size[1] / own[1])
            fitting = (max(1, round(own[0] * scale)), max(1, round(own[1] * scale)))
            seen = given.size if given.fit == "stretch" else fitting
        frame = given.size or seen
        pixels = torch.full((3, *frame), given.fill)
        pixels[:, : seen[0], : seen[1]] = shown(picture, seen)
        values = (pixels * given.scale - torch.tensor(given.mean)[:, None, None]) / torch.tensor(given.std)[
            :, None, None
        ]
        array = values.flip(0).numpy() if given.bgr else values.numpy()
        array = array.transpose(1, 2, 0) if given.layout.endswith("hwc") else array
        array = (array[None] if given.layout.startswith("n") else array).round(0 if given.dtype == "uint8" else 7)
        name = self._session.get_inputs()[0].name
        answers = self._session.run(self._wanted, {name: np.ascontiguousarray(array.astype(given.dtype))})
        by_name = {name: torch.from_numpy(np.array(one)) for name, one in zip(self._wanted, answers, strict=True)}
        return brought_back(self._found(by_name, frame, seen), seen, own)

    def _found(self, answers: dict[str, Tensor], frame: tuple[int, int], seen: tuple[int, int]) -> InPicture:
        outputs = self._outputs
        boxes = _without_batch(answers[outputs.boxes], 2).float()
        scores = answers[outputs.scores].float()
        if boxes.shape[1:] != (4,):
            raise InputError(self._where, f"{outputs.boxes} must be [n, 4], got {list(answers[outputs.boxes].shape)}")
        if outputs.normalized:
            boxes = boxes * boxes.new_tensor([frame[1], frame[0]] * 2)
        boxes = box_convert(boxes, outputs.box_format, "xyxy")
        if outputs.labels is not None:
            score, row = _without_batch(scores, 1), torch.arange(len(boxes))
            label = _without_batch(answers[outputs.labels], 1).long()
        else:
            table = _without_batch(scores, 2)[:, int(outputs.background) :]
            row, column = (table > outputs.score).nonzero(as_tuple=True)
            score, label = table[row, column], column + outputs.first
        kept = torch.nonzero(score > outputs.score).squeeze(1)
        kept = kept[torch.argsort(score[kept], descending=True, stable=True)]
        if outputs.nms_iou is not None:
            kept = kept[batched_nms(boxes[row[kept]], score[kept], label[kept], outputs.nms_iou)]
        kept = kept[: outputs.detections]
        masks = None
        if outputs.masks is not None:
            whole = _without_batch(answers[outputs.masks], 3)[row[kept]]
            masks = packed(whole[:, : seen[0], : seen[1]] > outputs.mask)
        return InPicture(boxes[row[kept]], score[kept], label[kept].tolist(), masks)


def _names(outputs: _Outputs) -> tuple[str | None, ...]:
    return outputs.boxes, outputs.scores, outputs.labels, outputs.masks


def _without_batch(values: Tensor, dimensions: int) -> Tensor:
    return values[0] if values.dim() == dimensions + 1 and len(values) == 1 else values

"""What is written beside a training's weights: which model it is, and how it came about."""

import hashlib
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fusion.atomic import replacing
from fusion.errors import InputError

__all__ = [
    "CategoryFigure",
    "Figures",
    "Identity",
    "Origin",
    "Run",
    "TrainedAlike",
    "read_json",
    "source_revision",
    "versions",
    "write_json",
]

_PACKAGES = ("quorum-detection", "torch", "torchvision", "timm", "safetensors", "numpy")
_T = TypeVar("_T")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is: enough to build it and to name what it finds; `config.json`.

    Attributes:
        variant: Name in the registry, or of one's own.
        model: `Model.to_dict`.
        category_ids: Ids of the labels 1, 2, ...
        category_names: Their names.
    """

    variant: str
    model: dict[str, Any]
    category_ids: tuple[int, ...]
    category_names: tuple[str, ...]


class TrainedAlike(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters that a training treats alike.

    Attributes:
        what: In words, as in `zoo.optimizer.Group`.
        rate: Factor on the learning rate of the schedule; 0 is not trained at all.
        weight_decay: Their own.
        tensors: How many parameters of a name.
        parameters: How many numbers.
    """

    what: str
    rate: float
    weight_decay: float
    tensors: int
    parameters: int


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How a training went; `run.json`.

    Attributes:
        dataset: Name of the data set.
        split: Name of the split.
        data: Fingerprint of its ground truth.
        images: Number of its images.
        seed: Of everything random.
        processes: That trained together.
        device: What they computed on.
        parameters: Numbers that the model learns.
        step: Optimizer steps made.
        steps: Steps of the whole schedule.
        epochs: Epochs seen.
        seconds: Of training, over all starts.
        losses: Means over the last steps, by name.
        notes: What else a reader should know.
        versions: Of the packages.
        source: Hash of this package's code.
        groups: Of parameters that were trained alike; none are known of trainings of earlier versions.
    """

    dataset: str | None
    split: str | None
    data: str
    images: int
    seed: int
    processes: int
    device: str
    parameters: int
    step: int
    steps: int
    epochs: float
    seconds: float
    losses: dict[str, float]
    notes: tuple[str, ...]
    versions: dict[str, str]
    source: str
    groups: tuple[TrainedAlike, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the schedule has been run to its end."""
        return self.step >= self.steps


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a member comes from that was trained elsewhere; `origin.json`.

    Attributes:
        source: The file it was registered from, or FRAMEWORK:MODEL.
        sha256: Of that file, or of those of the model, with commas between.
        about: What its owner says of it.
    """

    source: str
    sha256: str
    about: str


class CategoryFigure(msgspec.Struct, frozen=True, kw_only=True):
    """AP of one category; None where it has no ground truth.

    Attributes:
        category_id: As in the data set.
        name: As in the data set.
        AP: Mean over IoU thresholds.
    """

    category_id: int
    name: str
    AP: float | None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a member on a split; `figures/SPLIT.bbox.json`.

    Attributes:
        ground_truth: Fingerprint of the ground truth.
        images: Number of its images.
        detections: Number of detections.
        protocol: "coco" or "lvis".
        stats: All figures of the protocol by name; -1 where there is no ground truth.
        categories: AP of each category.
    """

    ground_truth: str
    images: int
    detections: int
    protocol: str
    stats: dict[str, float]
    categories: tuple[CategoryFigure, ...]


def read_json(path: Path, kind: type[_T]) -> _T:
    """Read a file of one of the structures above.

    Raises:
        InputError: If it is missing or does not fit.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(path, f"cannot be read ({error})", "Is this a folder that `quorum train` wrote?") from error


def write_json(value: object, path: Path) -> None:
    """Write a structure, indented, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide what a model computes."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@cache
def source_revision() -> str:
    """Return a hash of the code of this package, which names its state without a version control."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(os.fsencode(path.relative_to(root)) + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]

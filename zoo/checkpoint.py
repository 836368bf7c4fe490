"""What a training leaves on disk: weights, the state to go on from, averages of several weights."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fusion.atomic import replacing
from fusion.errors import InputError, option

__all__ = [
    "MovingAverage",
    "Partial",
    "Which",
    "average",
    "latest",
    "load_matching",
    "load_weights",
    "read_state",
    "save_weights",
    "weights_file",
    "write_checkpoint",
]

_PREFIX = "checkpoint-"
Weights = Mapping[str, Tensor]
Which = Literal["ema", "last"]


class MovingAverage:
    """Exponential moving average of a model's weights and statistics.

    The weight of the past is at most (1 + n) / (10 + n) after n updates, so that a short training does not end with
    the weights it began with.

    Args:
        model: Whose weights are followed; it is copied.
        decay: Weight of the past at each update, in the long run.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        @torch.no_grad()
        def averaging(past: list[Tensor], now: list[Tensor], updates: Tensor) -> None:
            weight = min(decay, (1 + int(updates)) / (10 + int(updates)))
            get_ema_multi_avg_fn(weight)(past, now, updates)  # type: ignore[no-untyped-call]

        self._average = AveragedModel(model, multi_avg_fn=averaging, use_buffers=True)

    def update(self, model: nn.Module) -> None:
        """Take a step of the model in; call it after the optimizer's step only."""
        self._average.update_parameters(model)
        # the average of counters, cut to integers, would stand still near zero
        for own, theirs in zip(self._average.module.buffers(), model.buffers(), strict=True):
            if not own.is_floating_point():
                own.copy_(theirs)

    @property
    def model(self) -> nn.Module:
        """The averaged model."""
        return self._average.module

    def state(self) -> dict[str, Tensor]:
        """Return what `restore` takes: the averaged weights, and the number of updates."""
        return {**self.model.state_dict(), _UPDATES: self._average.n_averaged.clone()}

    def restore(self, weights: Weights) -> None:
        """Go on from `state`."""
        weights = dict(weights)
        self._average.n_averaged.copy_(weights.pop(_UPDATES))
        self.model.load_state_dict(weights)


_UPDATES = "n_averaged"
_PASSES = "passes"


@dataclass(frozen=True)
class Partial:
    """What came of loading weights into a model that has not quite the same.

    Attributes:
        missing: Names of the model that the weights lack; they keep their initial values.
        other_shape: Names that both have, in different shapes; they keep their initial values.
        unused: Names that the model lacks.
    """

    missing: tuple[str, ...]
    other_shape: tuple[str, ...]
    unused: tuple[str, ...]


def save_weights(weights: Weights, path: str | os.PathLike[str], about: Mapping[str, str] | None = None) -> None:
    """Write weights to a safetensors file, atomically.

    Args:
        weights: Tensors by name; shared memory is copied.
        path: The file.
        about: Kept in the file's header.

    Raises:
        InputError: If it cannot be written; what stood there is as it was.
    """
    with replacing(path) as temporary:
        _save_tensors(weights, temporary, about or {})


def load_weights(path: str | os.PathLike[str], which: Which | None = None) -> dict[str, Tensor]:
    """Read weights: a safetensors file, or the newest checkpoint's of a training folder.

    Args:
        path: The file or folder.
        which: "ema" takes the averaged weights of a folder, "last" those of the last step; None the averaged if there
            are such.

    Raises:
        InputError: If there are none, or the file is damaged.
    """
    place = weights_file(path, which)
    try:
        weights = load_file(place)
    except (SafetensorError, OSError) as error:
        raise InputError(place, f"expected a safetensors file ({error})", "Train again, or fetch it again") from error
    weights.pop(_UPDATES, None)
    return weights


def weights_file(path: str | os.PathLike[str], which: Which | None = None) -> Path:
    """Return the file that `load_weights` reads.

    Raises:
        InputError: If there is none.
    """
    place = Path(path)
    if not place.exists():
        raise InputError(place, "there are no such weights", "Name a safetensors file, or the folder of a training")
    if not place.is_dir():
        return place
    checkpoint = place if (place / "model.safetensors").exists() else latest(place)
    if checkpoint is None:
        raise InputError(place, "holds no checkpoint", "Train it first: quorum train NAME --data SPEC -o FOLDER")
    averaged, last = checkpoint / "ema.safetensors", checkpoint / "model.safetensors"
    if which == "ema" and not averaged.exists():
        raise InputError(
            place,
            f"{option('weights', 'ema')} asks for averaged weights, and it was trained without",
            "Leave it out, or train with train.ema=0.9998",
        )
    return averaged if averaged.exists() and which != "last" else last


def load_matching(model: nn.Module, weights: Weights, anew: Sequence[str] = ()) -> Partial:
    """Load what has the same name and shape, leave the rest as it is, and say what that is.

    This is how a detector trained on one data set starts the training on another (megdetv2-coco2019,
    sec. 2.1): the layers whose size follows the number of categories begin anew. The kernel of a plain convolution goes
    into a deformable one in its place. How many forward passes there were is not taken over: draws begin anew.

    Args:
        model: To be loaded.
        weights: By name.
        anew: Regular expressions that match at the start of names; what they match is not loaded.

    Raises:
        InputError: If nothing fits, or an expression matches nothing.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if name != _PASSES}
    expressions = [re.compile(pattern) for pattern in anew]
    for expression in expressions:
        if not any(expression.match(name) for name in own):
            raise InputError("train.init_anew", f"{expression.pattern!r} matches no name of the model")
    wanted = {name for name in own if not any(expression.match(name) for expression in expressions)}
    given = {_in_place(name, own): tensor for name, tensor in weights.items() if name != _PASSES}
    fits = {name for name in wanted if name in given and own[name].shape == given[name].shape}
    if not fits:
        raise InputError(
            "initial weights",
            f"no tensor has a name and shape of this model; they have {', '.join(sorted(weights)[:3])} ..., "
            f"the model {', '.join(sorted(own)[:3])} ...",
            "Take a checkpoint of the same kind of model; those of others are renamed by quorum zoo convert",
        )
    model.load_state_dict({name: given[name] for name in sorted(fits)}, strict=False)
    return Partial(
        missing=tuple(sorted(set(own) - (set(given) & wanted))),
        other_shape=tuple(sorted(wanted & set(given) - fits)),
        unused=tuple(sorted(set(given) - set(own))),
    )


def _in_place(name: str, own: Weights) -> str:
    """Return the name of the deformable convolution's kernel or bias, where one stands in the place of a plain one."""
    layer, _, last = name.rpartition(".")
    deformable = f"{layer}.conv.{last}"
    return deformable if name not in own and deformable in own else name


def average(states: Sequence[Weights]) -> dict[str, Tensor]:
    """Return the uniform mean of several weights (mmfruit-openimages2019, sec. 6).

    Floating-point tensors, batch statistics included, are averaged in float64; counters are the last one's.

    Raises:
        InputError: If there are none, or they do not have the same names and shapes.
    """
    if not states:
        raise InputError("average", "no weights were given")
    first = {name: tensor.shape for name, tensor in states[0].items()}
    for number, state in enumerate(states[1:], 2):
        other = {name: tensor.shape for name, tensor in state.items()}
        if other != first:
            odd = sorted(name for name in {*first, *other} if first.get(name) != other.get(name))
            raise InputError(
                f"weights {number} of {len(states)}",
                f"differ from the first in {len(odd)} tensors, such as {odd[0]}",
                "Average checkpoints of one model",
            )
    return {
        name: sum((state[name].double() for state in states), torch.zeros(())).div(len(states)).to(last.dtype)
        if last.is_floating_point()
        else last.clone()
        for name, last in states[-1].items()
    }


def write_checkpoint(
    folder: Path, step: int, model: Weights, averaged: Weights | None, state: Mapping[str, Any], config: str
) -> Path:
    """Write `folder/checkpoint-<step>` and remove the older ones; a killed process leaves an older one whole.

    Args:
        folder: Of the training.
        step: Number of optimizer steps made.
        model: The weights.
        averaged: `MovingAverage.state`, if there is one.
        state: What else it takes to go on: tensors, numbers, text, and lists and dicts of them.
        config: The configuration as JSON.

    Raises:
        InputError: If it cannot be written; the one before is whole then.
    """
    place = folder / f"{_PREFIX}{step:08d}"
    if not place.exists():
        before = latest(folder)
        try:
            with replacing(place, folder=True) as temporary:
                _save_tensors(model, temporary / "model.safetensors", {})
                if averaged is not None:
                    _save_tensors(averaged, temporary / "ema.safetensors", {})
                _save_state(state, temporary / "state.pt")
                (temporary / "config.json").write_text(config, encoding="utf-8")
        except InputError as error:
            kept = "There is no earlier one" if before is None else f"{before.name} is whole"
            remedy = f"{kept}; free some room and go on with {option('resume')}"
            raise InputError(error.where, error.problem, remedy) from error
    for old in _checkpoints(folder):
        if old != place:
            _remove(old)
    return place


def _save_tensors(weights: Weights, path: Path, about: Mapping[str, str]) -> None:
    apart = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}
    try:
        save_file(apart, path, metadata=dict(about))
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error)) from error


def _save_state(state: Mapping[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:  # what torch makes of an error of the file
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def latest(folder: Path) -> Path | None:
    """Return the newest checkpoint of a training folder; None when there is none."""
    return max(_checkpoints(folder), default=None)


def read_state(checkpoint: Path) -> tuple[dict[str, Tensor], dict[str, Tensor] | None, dict[str, Any]]:
    """Read a checkpoint: weights, the state of the moving average or None, and the rest.

    Nothing in it is executed: tensors, numbers, text, lists and dicts are all that it may hold.

    Raises:
        InputError: If a file is missing or damaged.
    """
    try:
        model = load_file(checkpoint / "model.safetensors")
        averaged = checkpoint / "ema.safetensors"
        rest = torch.load(checkpoint / "state.pt", map_location="cpu", weights_only=True)
        return model, load_file(averaged) if averaged.exists() else None, rest
    except Exception as error:
        raise InputError(
            checkpoint, f"cannot be read as a checkpoint ({type(error).__name__}: {error})", "Remove it and train again"
        ) from error


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())


def _remove(checkpoint: Path) -> None:
    import shutil

    # renamed first, so that a half-removed one is never taken for a checkpoint
    grave = checkpoint.with_name(f".{checkpoint.name}.old")
    checkpoint.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)

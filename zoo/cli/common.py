"""What the commands of package `zoo` share: PyTorch where it is needed, threads, words about figures."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from fusion.errors import InputError
from fusion.terminal import stderr

if TYPE_CHECKING:
    from zoo.data import Data

__all__ = ["Output", "Scale", "Store", "missing_packages", "need_torch", "split_of", "tell_figures", "use_threads"]

Output = Annotated[Path, Parameter(name=("--output", "-o"))]
Scale = Literal["full", "tiny"]
Store = Annotated[Path, Parameter(name="--store")]


def missing_packages() -> list[str]:
    """Return the packages of the extra `zoo` that are not installed."""
    return [name for name in ("torch", "torchvision", "timm", "safetensors", "PIL") if find_spec(name) is None]


def need_torch(command: str) -> None:
    """Require the extra `zoo`.

    Raises:
        InputError: If a package of it is missing; the message has the command that installs it.
    """
    if missing := missing_packages():
        raise InputError(
            f"quorum {command}",
            f"needs {', '.join(missing)}, which this installation does not have",
            'Install them: pip install "quorum-detection[zoo]"',
        )


def use_threads() -> None:
    """Let QUORUM_THREADS hold for PyTorch too; by itself it takes every processor for every process."""
    if "QUORUM_THREADS" in os.environ:
        import torch

        from fusion.kernels.jit import threads

        torch.set_num_threads(threads())


def split_of(data: "Data") -> str:
    """Return the name under which tables and figures on a data set are kept."""
    return data.split or data.name


def tell_figures(folder: Path, split: str) -> None:
    """Say what has been measured of a member on a split, and where its card is."""
    from zoo.store import Member

    member = Member.read(folder)
    for kind in ("bbox", "segm"):
        if (figures := member.figures.get((split, kind))) is None:
            continue
        stderr.print(f"{member.name}: AP {100 * figures.stats['AP']:.2f} on {split} ({kind})", highlight=False)
    stderr.print(f"card: {folder / 'card.md'}", highlight=False)

"""Random draws that depend on the seed, the pass, the image and the purpose, and on nothing else."""

import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Draws"]


@dataclass(frozen=True)
class Draws:
    """Draws for one image.

    The same image gets the same draws whatever else is in the batch or on other machines, so that two processes
    give what one gives.

    Attributes:
        seed: Of the training.
        step: Number of the forward pass.
        image_id: As in the data set.
    """

    seed: int
    step: int
    image_id: int | str

    def choose(self, candidates: Tensor, count: int, purpose: str) -> Tensor:
        """Return `count` entries of a 1-d tensor, or all of them where there are no more."""
        if len(candidates) <= count:
            return candidates
        order = torch.randperm(len(candidates), generator=self._generator(purpose))[:count]
        return candidates[order.to(candidates.device)]

    def normal(self, shape: tuple[int, ...], purpose: str) -> Tensor:
        """Return standard normal numbers, float32 on the CPU."""
        return torch.randn(shape, generator=self._generator(purpose))

    def _generator(self, purpose: str) -> torch.Generator:
        generator = torch.Generator()
        generator.manual_seed(zlib.crc32(f"{self.seed}/{self.step}/{self.image_id!r}/{purpose}".encode()))
        return generator

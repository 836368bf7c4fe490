"""The learning rate at each step."""

import math
from dataclasses import dataclass
from itertools import accumulate

from fusion.errors import InputError
from zoo.config import Train

__all__ = ["Schedule", "schedule_of"]


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the step alone, so that resuming needs no state of it.

    Attributes:
        base: Learning rate after the warm-up, already scaled to the global batch.
        total: Number of steps.
        drops: Steps from which on the rate is multiplied by `gamma` once more, ascending.
        gamma: Factor of each drop.
        poly: Instead of drops, the rate is `base * (1 - step / total) ** poly`.
        cosine: Instead of drops, half a cosine from `base` at the end of the warm-up to this share of it at `total`.
        warmup_steps: Number of steps of the linear warm-up.
        warmup_factor: Share of the rate at step 0.
    """

    base: float
    total: int
    drops: tuple[int, ...] = ()
    gamma: float = 0.1
    poly: float | None = None
    cosine: float | None = None
    warmup_steps: int = 0
    warmup_factor: float = 0.001

    def at(self, step: int) -> float:
        """Return the learning rate of step 0, 1, 2, ..."""
        if self.poly is not None:
            rate = self.base * math.pow(1 - min(step, self.total) / self.total, self.poly)
        elif self.cosine is not None:
            done = (step - self.warmup_steps) / max(self.total - self.warmup_steps, 1)
            fallen = (1 + math.cos(math.pi * min(max(done, 0.0), 1.0))) / 2
            rate = self.base * (self.cosine + (1 - self.cosine) * fallen)
        else:
            rate = self.base * math.pow(self.gamma, sum(step >= drop for drop in self.drops))
        if step < self.warmup_steps:
            done = step / self.warmup_steps
            rate *= self.warmup_factor * (1 - done) + done
        return rate


def schedule_of(train: Train, steps_per_epoch: float) -> Schedule:
    """Resolve the schedule of a configuration to steps.

    `segments` are lengths: Detectron's 60K/20K/10K is 90K steps with drops after 60K and 80K. `milestones` are the
    places of the drops: 5.5K/7.5K/8K drops at the first two and ends at the third, given as `steps` too
    (megdetv2-coco2019, sec. 2.1 and 2.3, writes both as a list). The rate is for `reference_batch` images and
    scales linearly with the batch.

    Args:
        train: The settings.
        steps_per_epoch: Images of an epoch over images of a step.

    Raises:
        InputError: If nothing says when the training ends, or a drop comes after the end.
    """
    unit = steps_per_epoch if train.unit == "epoch" else 1.0
    drops = [round(milestone * unit) for milestone in train.milestones]
    if train.segments:
        drops = [round(end * unit) for end in accumulate(train.segments)]
        total = drops[-1]
    elif train.steps is not None:
        total = train.steps
    elif train.epochs is not None:
        total = round(train.epochs * steps_per_epoch)
    else:
        raise InputError("config field train", "neither steps, epochs nor segments is set", "Set train.steps=1000")
    if total < 1 or max(drops, default=0) > total:
        raise InputError(
            "config field train",
            f"the last drop at step {max(drops, default=0)} comes after the end at step {total}",
            "Set fewer milestones, or more steps",
        )
    return Schedule(
        base=train.learning_rate * train.batch / train.reference_batch,
        total=total,
        drops=tuple(drop for drop in drops if drop < total),
        gamma=train.gamma,
        poly=train.poly,
        cosine=train.cosine,
        warmup_steps=train.warmup_steps,
        warmup_factor=train.warmup_factor,
    )

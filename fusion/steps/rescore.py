"""Learned scores: each fused box scored by what every member and its neighbours say of it."""

from dataclasses import dataclass, field
from typing import ClassVar

from fusion.errors import InputError
from fusion.pool import Pool
from fusion.score_models import ScoreModel, read_score_model
from fusion.steps.base import Rescored, check, parameter

__all__ = ["Rescore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescore:
    """Give each box of the first table the score that a learned model gives it; the other tables are its members.

    The model (`quorum learn scores`) has seen, for boxes fused in the same way on images with ground truth, which
    members had a box there, how well it fitted and how sure they were, and how often such a box was right. Where
    averaging counts agreement alike for all, it knows whose agreement is worth how much. Boxes, order and all else
    stay. The members come as the fusion before took them: calibrated and corrected.
    """

    shares_members: ClassVar[bool] = True
    inputs: ClassVar[tuple[str, str]] = ("instances", "voters")

    model: ScoreModel = field(
        metadata=parameter(
            "The model.",
            files={"model": "What `quorum learn scores` wrote. [required]"},
            learned=True,
            build=read_score_model,
            sample="scores.toml",
        )
    )

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Rescored:
        """Return the rows of the first table with learned scores.

        Raises:
            InputError: If there are no other tables, or their members are not those of the model.
        """
        if len(pool.tables) < 2:
            raise InputError(
                "rescore", "got one table, expected fused boxes and the tables of the members", "Give both"
            )
        return Rescored(*self.model.score(pool))

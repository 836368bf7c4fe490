"""Which figures a command shows."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cyclopts import Parameter

from fusion.errors import InputError, option

if TYPE_CHECKING:
    from evaluation.figures import Place
    from evaluation.protocol import Coco, Lvis, OpenImages

__all__ = ["USUAL", "FigureOptions"]

_AT_SCORE = ("F1", "P", "R")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """Figures to show.

    Attributes:
        figures: Names with commas between, such as AP,AP50,F1 (docs/evaluate.md lists them; an unknown one is answered
            with those that the protocol has). The protocol's own by default.
        score: F1, P and R are those of the detections of at least this score, not of the score of highest F1.
    """

    figures: str | None = None
    score: float | None = None

    def names(self, protocol: "Coco | Lvis | OpenImages", place: "Place") -> tuple[str, ...] | None:
        """Return the names chosen; None where nobody chose.

        Args:
            protocol: Whose figures.
            place: Where they are shown; --score alone adds to what is shown there.

        Raises:
            InputError: If the protocol has none of a name, or the score is no number.
        """
        if self.figures is None and self.score is None:
            return None
        from evaluation.figures import at_score, by_default, choose

        if self.figures is None:
            names = (*by_default(protocol, place), *_AT_SCORE)
        else:
            names = tuple(name.strip() for name in self.figures.split(",") if name.strip())
        choose(names, protocol)
        if self.score is None:
            return names
        if not math.isfinite(self.score):
            raise InputError(f"option {option('score')}", f"expected a number, got {self.score}")
        changed = at_score(names, self.score)
        if changed == names:
            raise InputError(
                f"option {option('score')}", f"goes with F1, P or R, and none is among {', '.join(names)}", "Add one"
            )
        return changed


USUAL = FigureOptions()

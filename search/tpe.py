"""Optuna's multivariate TPE as a proposer: of trees, or of weights and operators on a fixed tree."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from search.baselines import flat
from search.genome import FACTORS, IOUS, KINDS, PARTS, WEIGHTS, Genome, Operator
from search.tree import from_attach, from_line, key

if TYPE_CHECKING:
    import optuna

__all__ = ["OperatorTpe", "TreeTpe"]


class _Tpe:
    """An in-memory study; every parameter is suggested in every trial, since TPE models those only that all have."""

    def __init__(self, seed: int, draw: Callable[[optuna.Trial], Genome]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notebooks may lack what draws its bars, which are not shown
            import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            # multivariate sampling is experimental by name only
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=10,
                n_ei_candidates=24,
                seed=seed,
                multivariate=True,
                group=False,
                constant_liar=True,  # a batch is asked for before its first value is told
            )
        self._study = optuna.create_study(
            storage=None,
            sampler=sampler,
            pruner=optuna.pruners.NopPruner(),
            study_name=None,
            direction="maximize",
            load_if_exists=False,
        )
        self._draw = draw
        self._open: list[tuple[Genome, optuna.Trial]] = []

    def ask(self, count: int) -> list[Genome]:
        """Return so many candidates."""
        asked = []
        for _ in range(count):
            trial = self._study.ask()
            genome = self._draw(trial).canonical()
            self._open.append((genome, trial))
            asked.append(genome)
        return asked

    def tell(self, genome: Genome, value: float) -> None:
        """Learn the value of a candidate; of one that it did not propose it has no use."""
        for place, (waiting, trial) in enumerate(self._open):
            if waiting == genome:
                self._study.tell(trial, value)
                del self._open[place]
                return


class TreeTpe(_Tpe):
    """Proposes trees with equal weights and one operator everywhere: the first of the report's two stages."""

    def __init__(self, members: int, operator: Operator, seed: int, code: Literal["line", "attach"] = "line") -> None:
        """Start a study.

        Args:
            members: At least 2.
            operator: At every node.
            seed: Of the sampler.
            code: How a tree is spelled in numbers, see `search.tree`.
        """
        weights, operators = (1.0,) * members, (operator,) * (members - 1)

        def draw(trial: optuna.Trial) -> Genome:
            if code == "line":
                tree = from_line([trial.suggest_float(f"x{leaf}", 0, 1) for leaf in range(members)])
            else:
                places = [trial.suggest_categorical(f"v{j}", range(2 * j - 1)) for j in range(2, members)]
                tree = from_attach(places)
            return Genome(tree, weights, operators)

        super().__init__(seed, draw)


class OperatorTpe(_Tpe):
    """Proposes weights and operators on a fixed tree: the second of the report's two stages."""

    def __init__(self, first: Sequence[Genome], seed: int, *, tree: bool = True) -> None:
        """Start a study.

        Args:
            first: What is proposed first, at least one; they share the tree that is kept.
            seed: Of the sampler.
            tree: False varies the operator of the root alone, so that all below is one pool: what public
                scripts tune.
        """
        start = first[0]

        def operator(trial: optuna.Trial, name: str) -> Operator:
            return Operator(
                kind=trial.suggest_categorical(f"kind{name}", KINDS if tree else KINDS[1:]),
                iou=IOUS[trial.suggest_int(f"iou{name}", 0, len(IOUS) - 1)],
                factor=FACTORS[trial.suggest_int(f"factor{name}", 0, len(FACTORS) - 1)] if tree else 1.0,
                part=trial.suggest_categorical(f"part{name}", PARTS) if tree else "both",
            )

        def draw(trial: optuna.Trial) -> Genome:
            weights = tuple(WEIGHTS[trial.suggest_int(f"weight{leaf}", 0, 12)] for leaf in range(len(start.weights)))
            if not tree:
                return flat(weights, operator(trial, ""))
            return Genome(start.tree, weights, tuple(operator(trial, str(j)) for j in range(1, len(weights))))

        super().__init__(seed, draw)
        for genome in first:
            root = 0 if isinstance(genome.tree, int) else key(genome.tree)
            self._study.enqueue_trial(
                {f"weight{leaf}": WEIGHTS.index(weight) for leaf, weight in enumerate(genome.weights)}
                | {
                    name + (str(number) if tree else ""): value
                    for number, gene in enumerate(genome.operators, 1)
                    for name, value in _spelled(gene, tree=tree).items()
                    if tree or number == root
                }
            )


def _spelled(operator: Operator, *, tree: bool) -> dict[str, str | int]:
    spelled: dict[str, str | int] = {"kind": operator.kind, "iou": IOUS.index(operator.iou)}
    if tree:
        spelled |= {"factor": FACTORS.index(operator.factor), "part": operator.part}
    return spelled

"""Finished trials on disk: an Optuna journal, which `optuna-dashboard` opens and a resumed search reads."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion.errors import InputError, option
from search.engine import Outcome
from search.genome import KINDS, PARTS, Genome
from search.tree import attach_code

if TYPE_CHECKING:
    import optuna
    import pandas as pd

__all__ = ["Journal", "Trial", "trials_frame"]

_STUDY = "quorum search"
_ORIGIN = "quorum"


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate that was measured.

    Attributes:
        number: Counted from 0, in the order of the search.
        phase: Of the search.
        genome: The candidate.
        outcome: What became of it.
    """

    number: int
    phase: str
    genome: Genome
    outcome: Outcome


class Journal:
    """The trials of a study in a journal file, or behind a storage URL that several machines share.

    Trials are added when they are finished, whole: a killed search loses those under way and no other.

    Attributes:
        notes: What was dropped of a file that was damaged.
    """

    def __init__(self, place: str | Path, origin: dict[str, Any], island: int = 0) -> None:
        """Open or make the study.

        Args:
            place: Path of a journal file, or the URL of a database that Optuna knows.
            origin: What the trials depend on besides the genome: members (their names, which parameters have), data,
                options; another study's trials are refused.
            island: Of several searches that share the place, this one's number; each has its own seed.

        Raises:
            InputError: If the study at this place is of other data, or the place cannot be read or written.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._place = place
        self.notes: tuple[str, ...] = ()
        storage: Any = str(place)
        if "://" not in storage:
            from search.journal_file import JournalFile

            Path(place).parent.mkdir(parents=True, exist_ok=True)
            backend = JournalFile(Path(place))
            self.notes = backend.notes
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                storage = optuna.storages.JournalStorage(backend)
        self._island = island
        self._names = tuple(origin.get("members", ()))
        self._read = 0
        with self._writing():
            self._study = optuna.create_study(
                storage=storage,
                sampler=optuna.samplers.RandomSampler(seed=0),  # nothing is ever asked of it
                pruner=optuna.pruners.NopPruner(),
                study_name=_STUDY,
                direction="maximize",
                load_if_exists=True,
            )
            known = self._study.user_attrs.get(_ORIGIN)
            if known is None:
                self._study.set_user_attr(_ORIGIN, origin)
        if known is None:
            return
        if known != json.loads(json.dumps(origin)):
            different = sorted(name for name in {*known, *origin} if known.get(name) != origin.get(name))
            raise InputError(
                place,
                f"holds trials of another search: {', '.join(different)} differ",
                "Choose another output folder, or give the same members, ground truth, splits and options",
            )

    def trials(self) -> Iterator[tuple[Genome, Outcome]]:
        """Iterate over the trials of this island that are there."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.user_attrs.get("island") == self._island:
                yield _read(trial)

    def arrivals(self) -> list[tuple[Genome, Outcome]]:
        """Return the trials of other islands, measured to the end, that came since the last call."""
        trials = self._study.get_trials(deepcopy=False)
        new, self._read = trials[self._read :], len(trials)
        others = [trial for trial in new if trial.user_attrs.get("island", self._island) != self._island]
        return [entry for entry in map(_read, others) if not entry[1].pruned]

    def add(self, trial: Trial) -> None:
        """Write a finished trial.

        Raises:
            InputError: If it cannot be written; those before it are kept.
        """
        import optuna

        genome, outcome = trial.genome, trial.outcome
        parameters, distributions = _parameters(genome, self._names)
        figures = [None if value != value else value for value in outcome.per_category.tolist()]
        attributes = {
            "phase": trial.phase,
            "island": self._island,
            "genome": genome.encode().decode(),
            "per_category": figures,
            "pruned": outcome.pruned,
            "seconds": outcome.seconds,
        }
        states = optuna.trial.TrialState
        frozen = optuna.trial.create_trial(
            state=states.PRUNED if outcome.pruned else states.COMPLETE,
            params=parameters,
            distributions=distributions,
            value=outcome.value,
            user_attrs=attributes,
        )
        frozen.datetime_complete = datetime.fromtimestamp(outcome.ended)
        frozen.datetime_start = frozen.datetime_complete - timedelta(seconds=outcome.seconds)
        with self._writing():
            self._study.add_trial(frozen)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say what became of a database that is full, gone or of another kind."""
        from optuna.exceptions import StorageInternalError

        try:
            yield
        except StorageInternalError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise InputError(
                self._place,
                f"could not be used as a storage of trials ({reason})",
                f"Trials that were written are kept; mend it and go on with {option('resume')}",
            ) from error


def _read(trial: optuna.trial.FrozenTrial) -> tuple[Genome, Outcome]:
    attributes = trial.user_attrs
    figures = np.array([np.nan if value is None else value for value in attributes["per_category"]])
    seconds, ended = float(attributes["seconds"]), (trial.datetime_complete or datetime.now()).timestamp()
    outcome = Outcome(float(trial.value), figures, bool(attributes["pruned"]), seconds, ended)
    return Genome.decode(attributes["genome"]), outcome


def trials_frame(trials: list[Trial], names: Sequence[str] = ()) -> pd.DataFrame:
    """Return trials as a data frame, a row each; columns of parameters have the names of the members."""
    import pandas as pd

    rows = [
        {
            "number": trial.number,
            "phase": trial.phase,
            "AP": trial.outcome.value,
            "pruned": trial.outcome.pruned,
            "seconds": trial.outcome.seconds,
            **_parameters(trial.genome, names)[0],
            "genome": trial.genome.encode().decode(),
        }
        for trial in trials
    ]
    return pd.DataFrame(rows)


def _parameters(
    genome: Genome, names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, optuna.distributions.BaseDistribution]]:
    """Spell a genome in Optuna's parameters.

    An inner node has the name of the member that it takes in: the first of its second child.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values: dict[str, Any] = {}
    distributions: dict[str, Any] = {}

    def put(name: str, value: Any, distribution: Any) -> None:
        values[name] = value
        distributions[name] = distribution

    called = names if len(names) == len(genome.weights) else range(len(genome.weights))
    for j, place in enumerate(attach_code(genome.tree) if len(genome.weights) > 1 else (), 2):
        put(f"place {called[j]}", place, IntDistribution(0, 2 * j - 2))
    for leaf, weight in enumerate(genome.weights):
        put(f"weight {called[leaf]}", weight, FloatDistribution(0.0, 1.0))
    for j, operator in enumerate(genome.operators, 1):
        put(f"kind at {called[j]}", operator.kind, CategoricalDistribution(KINDS))
        put(f"iou at {called[j]}", operator.iou, FloatDistribution(0.0, 1.0))
        put(f"factor at {called[j]}", operator.factor, FloatDistribution(0.0, 1.0))
        put(f"part at {called[j]}", operator.part, CategoricalDistribution(PARTS))
    return values, distributions

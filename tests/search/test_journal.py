"""Trials on disk: they come back as they went in, Optuna can read them, and other data is refused."""

import numpy as np
import optuna
import pytest

from fusion.errors import InputError
from search.engine import Outcome
from search.journal import Journal, Trial, trials_frame
from tests.search.test_genome import random_genome

ORIGIN = {"members": ["a", "b", "c", "d"], "detections": [5, 6, 7, 8], "calibrated": True}


def make_trials(count, seed=0):
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(count):
        figures = rng.random(5)
        figures[number % 5] = np.nan
        outcome = Outcome(float(np.nanmean(figures)), figures, number % 3 == 2, 0.25)
        trials.append(Trial(number, "trees", random_genome((seed, number), 4).canonical(), outcome))
    return trials


def assert_equal(entries, trials):
    assert [genome for genome, _ in entries] == [trial.genome for trial in trials]
    for (_, outcome), trial in zip(entries, trials, strict=True):
        np.testing.assert_array_equal(outcome.per_category, trial.outcome.per_category)
        assert (outcome.value, outcome.pruned, outcome.seconds) == (
            trial.outcome.value,
            trial.outcome.pruned,
            trial.outcome.seconds,
        )


@pytest.mark.parametrize("place", ["trials.journal", "sqlite:///{}/trials.db"])
def test_round_trip(tmp_path, place):
    where = place.format(tmp_path) if "://" in place else tmp_path / place
    trials = make_trials(6)
    journal = Journal(where, ORIGIN)
    for trial in trials:
        journal.add(trial)
    assert_equal(list(Journal(where, ORIGIN).trials()), trials)
    assert Journal(where, ORIGIN).arrivals() == []


def test_islands_send_each_other_what_was_measured_to_the_end(tmp_path):
    place = tmp_path / "shared.journal"
    first, second = Journal(place, ORIGIN, 0), Journal(place, ORIGIN, 1)
    trials, others = make_trials(4), make_trials(3, seed=1)
    for trial in trials:
        first.add(trial)
    assert first.arrivals() == []
    assert_equal(second.arrivals(), [trial for trial in trials if not trial.outcome.pruned])
    assert second.arrivals() == []
    second.add(others[0])
    assert_equal(first.arrivals(), others[:1])
    assert_equal(list(Journal(place, ORIGIN, 1).trials()), others[:1])


def test_optuna_reads_the_journal(tmp_path):
    journal = Journal(tmp_path / "trials.journal", ORIGIN)
    trials = make_trials(5)
    for trial in trials:
        journal.add(trial)
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "trials.journal"))
    )
    study = optuna.load_study(study_name=None, storage=storage)
    assert [trial.value for trial in study.trials] == [trial.outcome.value for trial in trials]
    assert study.best_value == max(trial.outcome.value for trial in trials)
    assert {"place2", "place3", "weight0", "kind1", "iou3", "factor2", "part1"} <= set(study.trials[0].params)
    assert len(study.trials_dataframe()) == 5


def test_trials_of_other_data_are_refused(tmp_path):
    place = tmp_path / "trials.journal"
    Journal(place, ORIGIN)
    with pytest.raises(
        InputError, match=r"trials\.journal: holds trials of another search: calibrated, members differ"
    ):
        Journal(place, ORIGIN | {"members": ["a"], "calibrated": False})


def test_frame_has_a_row_per_trial():
    frame = trials_frame(make_trials(3))
    assert frame["number"].tolist() == [0, 1, 2]
    assert frame["pruned"].tolist() == [False, False, True]
    assert {"phase", "AP", "seconds", "genome", "weight0", "kind3"} <= set(frame.columns)

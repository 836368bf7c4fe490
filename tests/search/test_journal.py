"""Trials on disk: they come back as they went in, Optuna can read them, and other data is refused."""

import itertools
from dataclasses import replace
from datetime import datetime

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.errors import InputError
from search.engine import Outcome
from search.journal import Journal, Trial, _parameters, trials_frame
from tests.fusion.test_appending import files_of_at_most
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
    named = {"place c", "place d", "weight a", "kind at b", "iou at d", "factor at c", "part at b"}
    assert named <= set(study.trials[0].params)
    assert len(study.trials_dataframe()) == 5


@pytest.mark.parametrize("place", ["trials.journal", "sqlite:///{}/trials.db"])
def test_states_and_times_in_the_journal_are_those_of_the_trials(tmp_path, place):
    where = place.format(tmp_path) if "://" in place else tmp_path / place
    trials = make_trials(6)
    begun = datetime.now().timestamp()
    journal = Journal(where, ORIGIN)
    for number, trial in enumerate(trials):
        # measured in other processes some time before it is written
        outcome = replace(trial.outcome, seconds=1.5 + number, ended=begun - 60 * number)
        journal.add(replace(trial, outcome=outcome))
    found = optuna.load_study(study_name=None, storage=Journal(where, ORIGIN)._study._storage).trials
    assert [trial.state.name for trial in found] == [
        "PRUNED" if trial.outcome.pruned else "COMPLETE" for trial in trials
    ]
    assert [trial.value for trial in found] == [trial.outcome.value for trial in trials]
    for number, trial in enumerate(found):
        assert trial.duration.total_seconds() == pytest.approx(1.5 + number, abs=1e-5)
        assert trial.datetime_complete.timestamp() == pytest.approx(begun - 60 * number, abs=1e-5)
    for number, (_, outcome) in enumerate(Journal(where, ORIGIN).trials()):
        assert outcome.ended == pytest.approx(begun - 60 * number, abs=1e-5)


def test_an_outcome_knows_when_it_ended():
    before = datetime.now().timestamp()
    outcome = Outcome(0.5, np.array([0.5]), False, 0.1)
    assert before <= outcome.ended <= datetime.now().timestamp()


def test_a_journal_of_an_older_version_goes_on(tmp_path):
    place, trials = tmp_path / "trials.journal", make_trials(4)
    journal = Journal(place, ORIGIN)
    for trial in trials[:3]:
        # as older versions wrote: every trial complete, without times, parameters by number
        values, kinds = _parameters(trial.genome, ())
        assert "weight 0" in values
        attributes = {
            "phase": trial.phase,
            "island": 0,
            "genome": trial.genome.encode().decode(),
            "per_category": [None if value != value else value for value in trial.outcome.per_category.tolist()],
            "pruned": trial.outcome.pruned,
            "seconds": trial.outcome.seconds,
        }
        journal._study.add_trial(
            optuna.trial.create_trial(
                params={name.replace(" at ", "").replace(" ", ""): value for name, value in values.items()},
                distributions={name.replace(" at ", "").replace(" ", ""): kind for name, kind in kinds.items()},
                value=trial.outcome.value,
                user_attrs=attributes,
            )
        )
    again = Journal(place, ORIGIN)
    assert_equal(list(again.trials()), trials[:3])
    again.add(trials[3])
    assert_equal(list(Journal(place, ORIGIN).trials()), trials)


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
    assert {"phase", "AP", "seconds", "genome", "weight 0", "kind at 3"} <= set(frame.columns)
    named = trials_frame(make_trials(3), ("w", "x", "y", "z"))
    assert {"weight w", "place y", "kind at z"} <= set(named.columns)


def journal_of(place, trials):
    journal = Journal(place, ORIGIN)
    for trial in trials:
        journal.add(trial)
    return place.read_bytes()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_torn_line_is_dropped_with_a_note_and_never_appended_to(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("torn") / "trials.journal"
    trials = make_trials(3)
    whole = journal_of(place, trials)
    cut = data.draw(st.integers(0, len(whole) - 1))
    rest = data.draw(st.sampled_from([b"", b"\0" * 40, b'"}\x80']))
    kept = whole[:cut].count(b'{"op_code":4')
    if not whole[:cut].endswith(b"\n"):
        torn = whole[:cut].rpartition(b"\n")[2]
        kept -= torn.startswith(b'{"op_code":4')
    damaged = whole[:cut] + (rest if cut > 11 else b"")
    place.write_bytes(damaged)
    journal = Journal(place, ORIGIN)
    assert_equal(list(journal.trials()), trials[:kept])
    assert bool(journal.notes) == (damaged not in (b"", *itertools.accumulate(whole.splitlines(keepends=True))))
    for trial in trials[kept:]:
        journal.add(trial)
    again = Journal(place, ORIGIN)
    assert_equal(list(again.trials()), trials)
    assert again.notes == ()


def test_a_journal_that_was_appended_to_a_torn_line_gives_its_other_trials(tmp_path):
    place = tmp_path / "trials.journal"
    trials = make_trials(4)
    lines = journal_of(place, trials).splitlines(keepends=True)
    place.write_bytes(b"".join([*lines[:3], lines[3][:50], *lines[4:]]))
    journal = Journal(place, ORIGIN)
    assert_equal(list(journal.trials()), [trials[0], trials[3]])
    (note,) = journal.notes
    assert "a line was not whole" in note
    assert "2 trials were kept" in note
    assert Journal(place, ORIGIN).notes == ()


def test_a_full_disk_is_named_and_costs_no_trial(tmp_path):
    place = tmp_path / "trials.journal"
    trials = make_trials(4)
    size = len(journal_of(place, trials[:2]))
    journal = Journal(place, ORIGIN)
    with files_of_at_most(size + 100), pytest.raises(InputError) as caught:
        journal.add(trials[2])
    assert str(place) in str(caught.value)
    assert "File too large. Every trial before this one is kept; free some room" in str(caught.value)
    assert_equal(list(Journal(place, ORIGIN).trials()), trials[:2])
    journal.add(trials[2])  # another machine that shares the file, when there is room again
    assert_equal(list(Journal(place, ORIGIN).trials()), trials[:3])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trials.journal"]


def test_a_machine_that_shares_the_journal_goes_on_past_the_torn_line_of_another(tmp_path):
    place = tmp_path / "trials.journal"
    trials = make_trials(3)
    journal_of(place, trials[:1])
    other = Journal(place, ORIGIN)
    with place.open("ab") as file:
        file.write(b'{"op_code":4,"wor')
    other.add(trials[1])
    assert_equal(list(Journal(place, ORIGIN).trials()), trials[:2])


@pytest.mark.parametrize("content", [b"PAR1 and so on", b'{"op_code":1}\n{"op_code":4}\n'])
def test_what_is_no_journal_is_left_alone(tmp_path, content):
    place = tmp_path / "trials.journal"
    place.write_bytes(content + b"torn")
    with pytest.raises(InputError, match=r"is no journal of a search|its beginning is damaged"):
        Journal(place, ORIGIN)
    assert place.read_bytes() == content + b"torn"


def test_a_database_that_is_full_is_named(tmp_path):
    place = f"sqlite:///{tmp_path}/trials.db"
    trials = make_trials(2)
    journal = Journal(place, ORIGIN)
    journal.add(trials[0])
    with files_of_at_most(1), pytest.raises(InputError, match=r"sqlite:///.*could not be used as a storage"):
        journal.add(trials[1])
    assert_equal(list(Journal(place, ORIGIN).trials()), trials[:1])

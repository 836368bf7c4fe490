"""The search: the same for a seed, whoever runs the candidates and however often it is interrupted."""

import itertools

import numpy as np
import pytest

from evaluation import prepare
from evaluation.protocol import Coco
from fusion.errors import InputError
from search.baselines import Greedy, flat, single
from search.engine import Engine, Outcome, category_chunks
from search.evaluators import Processes, Serial
from search.genome import WEIGHTS, Operator, used_members
from search.journal import Journal
from search.on_cpu import cpu_fusers
from search.problem import CategoryAp
from search.study import MODES, Settings, Study
from search.tree import clades, depths
from tests.search.members import make_members, make_truth

CATEGORIES = np.arange(20)


class Toy:
    """Runs candidates by a formula with one best tree, and counts; stops as Ctrl-C does after some."""

    def __init__(self, stop=None):
        self.run_before, self.stop = [], stop

    def value(self, genome):
        depth = depths(genome.pruned) if genome.pruned is not None else {}
        weights = sum(-abs(weight - WEIGHTS[leaf % 12 + 1]) for leaf, weight in enumerate(genome.weights))
        kinds = sum(operator.kind == "wbf" for operator in genome.operators)
        tree = sum(level * leaf for leaf, level in depth.items())
        return 0.4 + 0.02 * weights + 0.01 * kinds + 0.001 * tree

    def run(self, genomes, incumbent):
        for genome in genomes:
            if self.stop is not None and len(self.run_before) >= self.stop:
                raise KeyboardInterrupt
            self.run_before.append(genome)
            rng = np.random.default_rng(list(genome.encode()))
            figures = self.value(genome) + rng.normal(0, 0.001, len(CATEGORIES))
            pruned = False
            if incumbent is not None:
                pruned = incumbent.hopeless(CATEGORIES, figures) is not None
            if pruned:
                figures[10:] = np.nan
            yield Outcome(float(np.nanmean(figures)), figures, pruned, 0.01)

    def close(self):
        pass


def likeness(members):
    rng = np.random.default_rng(0)
    half = rng.random((members, members)) / 2
    return half + half.T


def make_study(members=5, **settings):
    return Study(Settings(**({"budget": 90} | settings)), CATEGORIES, likeness(members))


def summary(study):
    return [
        (t.number, t.phase, t.genome, t.outcome.value, t.outcome.pruned, t.outcome.per_category.tobytes())
        for t in study.trials
    ]


@pytest.mark.parametrize("members", [1, 2, 5])
@pytest.mark.parametrize(
    ("mode", "code"), [*((mode, "line") for mode in MODES), ("hybrid", "attach"), ("two-stage", "attach")]
)
def test_every_mode_finds_something(mode, members, code):
    study, again, other = (make_study(members, mode=mode, seed=seed, code=code) for seed in (3, 3, 4))
    for one in (study, again, other):
        one.run(Toy())
    assert summary(study) == summary(again)
    assert len(study.trials) == (1 if members == 1 else 90) or mode == "greedy"
    assert study.measured[0].outcome.value >= study.best_member.outcome.value
    if members > 1:
        assert study.measured[0].outcome.value >= study.naive.outcome.value
        assert study.measured[0].outcome.value >= study.greedy.outcome.value
    if members > 2 and mode != "greedy":
        assert summary(study) != summary(other)
    if len(study.trials) < 90:
        assert study.stopped == "nothing was left to try"


def test_no_candidate_is_run_twice():
    toy, study = Toy(), make_study(3)
    study.run(toy)
    assert len(toy.run_before) == len(set(toy.run_before))
    assert set(toy.run_before) == {trial.genome for trial in study.trials}


@pytest.mark.parametrize("mode", MODES)
def test_an_interrupted_search_goes_on_as_if_nothing_had_been(mode, tmp_path):
    whole = make_study(mode=mode)
    whole_toy = Toy()
    whole.run(whole_toy, Journal(tmp_path / "whole.journal", {}))
    run = []
    for stop in (7, 33, None):
        study, toy = make_study(mode=mode), Toy(stop)
        study.run(toy, Journal(tmp_path / "parts.journal", {}))
        run += toy.run_before
        if stop is not None:
            assert study.stopped == "it was interrupted"
            assert summary(study) == summary(whole)[: len(study.trials)]
            assert study.measured
    assert summary(study) == summary(whole)
    assert run == whole_toy.run_before


@pytest.mark.slow
def test_two_processes_search_as_one_does(tmp_path):
    truth = make_truth(2, images=20, categories=6, objects=120)
    tables = make_members(2, 4, truth)
    chunks = category_chunks(truth.category_id, np.ones(6, np.int64), 2)
    measure = CategoryAp(prepare(truth, Coco()))
    summaries = []
    for workers in (1, 2):
        study = Study(Settings(budget=60, seed=1), truth.category_id, likeness(4))
        fusers = cpu_fusers(tables, chunks, measure)
        if workers == 1:
            evaluator = Serial(Engine(fusers, memory=1 << 22))
        else:
            evaluator = Processes(fusers, tmp_path, workers=workers, memory=1 << 20)
        study.run(evaluator)
        evaluator.close()
        summaries.append(summary(study))
    assert summaries[0] == summaries[1]
    assert len(summaries[0]) == 60


def test_islands_learn_from_each_other(tmp_path):
    place = tmp_path / "shared.journal"
    first = make_study(seed=0)
    first.run(Toy(), Journal(place, {}, 0))
    toy, alone, second = Toy(), make_study(seed=1), make_study(seed=1)
    alone.run(Toy())
    second.run(toy, Journal(place, {}, 1))
    known = {trial.genome for trial in first.trials if not trial.outcome.pruned}
    # what the other island has measured is not run again, and its best become parents
    assert len(set(toy.run_before[8:]) & known) == 0
    same = [t.genome for t in second.trials if t.phase != "evolution"]
    assert same == [t.genome for t in alone.trials if t.phase != "evolution"]
    assert summary(second) != summary(alone)


def test_patience_ends_a_search_that_brings_nothing():
    study = make_study(budget=2000, patience=60)
    study.run(Toy(), paired_error=lambda a, b: 0.05)
    assert study.stopped == "no better by a standard error in 60 trials"
    assert len(study.trials) < 500


@pytest.mark.parametrize("wrong", [{"mode": "x"}, {"budget": 0}, {"seed": -1}, {"level": 2.0}, {"patience": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**wrong)


def slow_greedy(members, operator, value):
    """Pick, again and again, the member that helps most, until none does."""
    picks, best, chosen = [0] * members, -np.inf, None
    while True:
        options = []
        for member in range(members):
            more = [count + (leaf == member) for leaf, count in enumerate(picks)]
            shares = [count / max(more) for count in more]
            steps = [0.0 if s == 0 else min(WEIGHTS[1:], key=lambda w, s=s: abs(w - s)) for s in shares]
            options.append((value(flat(steps, operator)), -member, more, flat(steps, operator)))
        top = max(options, key=lambda option: option[:2])
        if top[0] <= best:
            return chosen, best
        best, picks, chosen = top[0], top[2], top[3]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 8])
def test_greedy_picks_what_the_slow_one_picks(seed, count):
    rng = np.random.default_rng(seed)
    strength, wanted = rng.random(5), rng.random(5)

    def value(genome):
        weights = np.array(genome.weights)
        return float(weights @ strength / (0.3 + weights.sum()) - 0.2 * np.abs(weights - wanted).sum())

    operator = Operator(kind="nms")
    greedy = Greedy(5, operator)
    for _ in range(1000):
        asked = greedy.ask(count)
        if not asked:
            break
        for genome in asked:
            greedy.tell(genome, value(genome))
    assert greedy.best == slow_greedy(5, operator, value)


def test_the_first_candidates_are_the_members_and_the_naive_ensembles():
    study = make_study(4, budget=12)
    study.run(Toy())
    assert [t.genome for t in study.trials[:4]] == [single(leaf, 4) for leaf in range(4)]
    naive = study.trials[4:]
    assert all(len(used_members(t.genome)) == 4 and t.phase == "naive" for t in naive)
    kinds = {o.kind for t in naive for o in t.genome.operators}
    assert kinds == {"concat", "vote", "wbf", "nms", "adj_nms", "soft_nms", "nmw"}
    assert len(list(itertools.chain.from_iterable(clades(t.genome.tree) for t in naive))) == 24

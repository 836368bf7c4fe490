"""Giving up: against SciPy's test on the same figures, and never the better of two."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from evaluation import prepare
from evaluation.protocol import Coco
from search.engine import Engine, category_chunks
from search.genome import Genome, Operator
from search.on_cpu import cpu_fusers
from search.problem import CategoryAp
from search.pruning import Incumbent
from search.tree import random_tree
from tests.search.members import make_members, make_truth


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.floats(-0.05, 0.05))
def test_hopeless_is_the_one_sided_test(seed, measured, shift):
    rng = np.random.default_rng(seed)
    ids = np.arange(10, 70)
    best = rng.random(60)
    best[rng.random(60) < 0.1] = np.nan
    chosen = rng.permutation(60)[:measured]
    figures = best[chosen] + rng.normal(shift, 0.05, measured).round(2)
    estimate = Incumbent(ids, best, 0.01).hopeless(ids[chosen], figures)
    difference = [a - b for a, b in zip(figures, best[chosen], strict=True) if a - b == a - b and a != b]
    worse = len(difference) >= 16 and np.mean(difference) < 0 and wilcoxon(difference, alternative="less").pvalue < 0.01
    assert (estimate is not None) == worse
    if estimate is not None:
        assert estimate < np.nanmean(best)
    assert Incumbent(ids, best, 0.0).hopeless(ids[chosen], figures) is None


def test_the_better_candidate_is_never_given_up_and_the_worse_ones_often_are():
    truth = make_truth(5, images=60, categories=60, objects=900)
    tables = make_members(5, 6, truth)
    chunks = category_chunks(truth.category_id, np.ones(60, np.int64), 5)
    engine = Engine(cpu_fusers(tables, chunks, CategoryAp(prepare(truth, Coco()))), memory=1 << 26)
    rng = np.random.default_rng(0)
    kinds = ("vote", "nms", "wbf", "concat", "adj_nms")
    candidates = []
    for _ in range(24):
        operators = tuple(Operator(kind=str(rng.choice(kinds)), factor=0.5) for _ in range(5))
        candidates.append(Genome(random_tree(6, rng), tuple(rng.choice([0.25, 1.0], 6)), operators).canonical())
    whole = [engine.evaluate(genome) for genome in candidates]
    best = int(np.argmax([outcome.value for outcome in whole]))
    given_up = 0
    for number in range(24):
        incumbent = Incumbent(truth.category_id, whole[number].per_category)
        for other in range(24):
            outcome = engine.evaluate(candidates[other], incumbent)
            assert not (outcome.pruned and whole[other].value > whole[number].value)
            assert outcome.pruned or outcome.value == whole[other].value
            given_up += outcome.pruned and number == best
    assert given_up >= 6

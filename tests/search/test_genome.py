"""Candidates: what makes two of them equal, and the recipe each stands for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.recipe_toml import parse_recipe
from search.baselines import flat, single
from search.genome import FACTORS, IOUS, KINDS, PARTS, WEIGHTS, Genome, Operator, recipe_of, used_members
from search.population import mutated
from search.tree import clades, key, leaves, random_tree
from tests.search.members import make_members


def random_genome(seed, members):
    rng = np.random.default_rng(seed)
    operators = tuple(
        Operator(
            kind=str(rng.choice(KINDS)),
            iou=float(rng.choice(IOUS)),
            factor=float(rng.choice(FACTORS)),
            part=str(rng.choice(PARTS)),
        )
        for _ in range(members - 1)
    )
    weights = tuple(float(w) for w in rng.choice(WEIGHTS, members) * (rng.random(members) < 0.7))
    return Genome(random_tree(members, rng), weights, operators)


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_canonical_is_canonical(seed, members):
    genome = random_genome(seed, members).canonical()
    assert genome.canonical() == genome
    assert sorted(leaves(genome.tree)) == list(range(members))
    assert used_members(genome) == tuple(i for i, weight in enumerate(genome.weights) if weight > 0)
    tree = genome.pruned
    used = {key(pair) for pair in clades(tree)} if tree is not None else set()
    assert all(o == Operator(kind="concat") for number, o in enumerate(genome.operators, 1) if number not in used)


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_json_gives_the_genome_back(seed, members):
    genome = random_genome(seed, members)
    assert Genome.decode(genome.encode()) == genome


@given(st.integers(0, 2**32), st.integers(1, 6), st.booleans())
def test_mutations_stay_in_the_space(seed, members, fixed_tree):
    rng = np.random.default_rng(seed)
    before = random_genome(seed, members)
    genome = before
    for _ in range(5):
        genome = mutated(genome, rng, fixed_tree=fixed_tree)
    assert sorted(leaves(genome.tree)) == list(range(members))
    assert genome.tree == before.tree or not fixed_tree
    assert all(any(abs(w - step) < 1e-12 for step in WEIGHTS) for w in genome.weights)
    assert all(o.kind in KINDS and o.part in PARTS and o.factor in FACTORS and o.iou in IOUS for o in genome.operators)


def test_a_pool_keeps_its_operator_when_members_leave():
    for weights in ((1.0, 1.0, 0.0), (0.0, 1.0, 1.0), (1.0, 0.0, 1.0)):
        genome = flat(weights, Operator(kind="nms"))
        assert [operator.kind for operator in genome.operators].count("nms") == 1
        recipe = recipe_of(genome, ["a", "b", "c"])
        assert len(recipe.nodes) == 1
        assert type(recipe.nodes["output"].step).__name__ == "Nms"


def test_operators_of_a_tree_stay_where_they_are_when_a_member_leaves():
    genome = Genome(((0, 2), 1), (0.0, 1.0, 1.0), (Operator(kind="wbf"), Operator(kind="nms")))
    recipe = recipe_of(genome.canonical(), ["a", "b", "c"])
    assert [type(node.step).__name__ for node in recipe.nodes.values()] == ["Wbf"]


def test_equal_candidates_become_equal():
    a = Genome((0, 1), (1.0, 1.0), (Operator(kind="soft_nms", iou=0.7),))
    b = Genome((0, 1), (1.0, 1.0), (Operator(kind="soft_nms", iou=0.3),))
    assert a.canonical() == b.canonical()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_recipe_goes_through_toml_and_runs(seed):
    tables = make_members(seed, 4)
    genome = random_genome(seed, 4).canonical()
    if genome.pruned is None:
        with pytest.raises(ValueError, match="no member"):
            recipe_of(genome, "abcd")
        return
    recipe = recipe_of(genome, [table.metadata.member for table in tables])
    again = parse_recipe(recipe.to_toml())
    assert again.fuse(tables).arrow.equals(recipe.fuse(tables).arrow)


def test_a_single_member_is_passed_on():
    tables = make_members(0, 3)
    recipe = recipe_of(single(1, 3), [table.metadata.member for table in tables])
    assert recipe.fuse(tables).score.tolist() == tables[1].score.tolist()

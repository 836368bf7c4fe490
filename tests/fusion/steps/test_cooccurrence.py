import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import cooccurrence
from fusion.errors import InputError
from fusion.pool import pool_tables
from fusion.recipe import Recipe
from fusion.recipe_toml import parse_recipe
from fusion.relations import image_chunks
from fusion.steps.cooccurrence import Cooccurrence
from tests.fusion.relation_cases import IDS, listed, relations_of, rows, table_of, tables_of
from tests.oracles import relations as oracle


def probabilities(relations, kind, support):
    pairs = relations.together
    first, second = getattr(relations, kind)()
    table = {}
    for a, b, one, two in zip(pairs.first, pairs.second, first, second, strict=True):
        for i, j, p in ((a, b, one), (b, a, two)):
            if relations.category_images[j] >= support:
                table[IDS[i], IDS[j]] = p
    return table


@settings(max_examples=200, deadline=None)
@given(
    rows,
    st.integers(0, 5),
    st.sampled_from(["conditional", "printed"]),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.sampled_from([0.0, 0.1, 0.25]),
    st.sampled_from([1, 30]),
)
def test_equals_the_oracle(rows, seed, kind, least_given, least, support):
    relations, tables = relations_of(seed), tables_of(rows)
    step = Cooccurrence(relations=relations, probability=kind, given=least_given, least=least, support=support)
    fused = step.fuse(pool_tables(tables))
    expected = oracle.raise_scores(
        [row[:3] for row in listed(tables)], probabilities(relations, kind, support), least_given, least
    )
    assert fused.score.tolist() == expected
    assert fused.row.tolist() == list(range(len(rows)))


def test_only_the_best_box_is_raised_and_nothing_is_lowered():
    relations = relations_of(0)
    pairs = relations.together._replace(images=relations.category_images[[0, 0, 1]] // 2)
    relations = dataclasses.replace(relations, together=pairs)
    p = (relations.category_images[0] // 2) / relations.category_images[0]
    low = (1, 5, 0.2, 0, 0, 1, 1)
    detections = table_of([(1, 2, 0.8, 0, 0, 1, 1), low, (1, 5, 0.2, 3, 3, 1, 1), (2, 5, 0.3, 0, 0, 1, 1)])
    fused = cooccurrence(detections, relations=relations, support=1)
    assert fused.score.tolist() == [0.8, 0.8 * p, 0.2, 0.3]
    assert fused.member.to_pylist() == ["a"] * 4


def test_same_for_any_number_of_threads_and_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    n = 150_000
    drawn = zip(rng.integers(0, 20_000, n), rng.choice(IDS, n), rng.random(n), *np.ones((4, n)), strict=True)
    detections, relations = table_of(list(drawn)), relations_of(1)
    scores = []
    for threads in "1", "3":
        monkeypatch.setenv("QUORUM_THREADS", threads)
        scores.append(cooccurrence(detections, relations=relations).score)
    assert np.array_equal(*scores)
    columns = pool_tables(detections).columns
    cuts = image_chunks(columns.image, columns.start)
    assert len(cuts) > 1
    assert cuts[0][0] == 0
    assert cuts[-1][1] == len(columns.image)
    for (_, end), (begin, _) in itertools.pairwise(cuts):
        assert end == begin
        assert columns.image[begin] != columns.image[begin - 1]


def test_recipe_keeps_every_count():
    step = Cooccurrence(relations=relations_of(3), probability="printed")
    recipe = Recipe.chain([step])
    again = parse_recipe(recipe.to_toml())
    assert again == recipe
    assert again != Recipe.chain([Cooccurrence(relations=relations_of(4), probability="printed")])
    detections = table_of([(1, 2, 0.9, 0, 0, 1, 1), (1, 5, 0.2, 0, 0, 1, 1)])
    assert again.fuse([detections]).arrow == recipe.fuse([detections]).arrow


def test_errors():
    relations = relations_of(0)
    with pytest.raises(InputError, match=r"learned on other categories.*category 7 is not among its 3"):
        cooccurrence(table_of([(1, 7, 0.5, 0, 0, 1, 1)]), relations=relations)
    alien = table_of([(1, 2, 0.5, 0, 0, 1, 1)]).with_metadata(categories="other")
    with pytest.raises(InputError, match="learned on other categories"):
        cooccurrence(alien, relations=dataclasses.replace(relations, categories="x"))
    with pytest.raises(InputError, match="'a' has a score of 7; expected probabilities"):
        cooccurrence(table_of([(1, 2, 7.0, 0, 0, 1, 1)]), relations=relations)
    for option in ({"probability": "joint"}, {"given": 2.0}, {"least": -1.0}, {"support": 0}):
        with pytest.raises(InputError, match=next(iter(option))):
            Cooccurrence(relations=relations, **option)
    with pytest.raises(InputError, match="relations must be given"):
        parse_recipe('recipe = 1\n[nodes.output]\nstep = "cooccurrence"\ninputs = ["*"]\n')

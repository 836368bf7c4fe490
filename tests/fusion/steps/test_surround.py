import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import surround
from fusion.errors import InputError
from fusion.pool import pool_tables
from fusion.recipe import Recipe
from fusion.recipe_toml import parse_recipe
from fusion.run import apply
from fusion.steps.surround import Surround
from tests.fusion.relation_cases import IDS, listed, relations_of, rows, table_of, tables_of
from tests.oracles import relations as oracle


def used_relations(relations, rate, support):
    """Relations as the oracle wants them, whatever categories the tables have."""
    pairs, objects = relations.surrounding, relations.category_objects
    used = {}
    for way, own, partner, count in (
        ("inside", pairs.inner, pairs.outer, pairs.inside),
        ("around", pairs.outer, pairs.inner, pairs.around),
    ):
        for i, j, n in zip(own.tolist(), partner.tolist(), count.tolist(), strict=True):
            same = partner == j
            q, r = n / objects[i], count[same].sum() / (objects.sum() - objects[j])
            if objects[i] >= support and q >= rate and q > r:
                q, r = min(max(q, 1e-3), 0.999), min(max(r, 1e-3), 0.999)
                used.setdefault(IDS[i], []).append((way, IDS[j], q, r))
    return used


@settings(max_examples=200, deadline=None)
@given(
    rows,
    st.integers(0, 8),
    st.sampled_from([0.0, 0.3, 0.6]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([1, 30]),
)
def test_equals_the_oracle(rows, seed, rate, up, down, support):
    relations, tables = relations_of(seed, 0.6), tables_of(rows)
    fused = Surround(relations=relations, rate=rate, up=up, down=down, support=support).fuse(pool_tables(tables))
    used = used_relations(relations, rate, support)
    expected = oracle.weigh_scores(listed(tables), used, 0.6, up, down)
    np.testing.assert_allclose(fused.score, expected, rtol=1e-12, atol=0)
    assert fused.row.tolist() == list(range(len(rows)))


@settings(max_examples=100, deadline=None)
@given(rows, st.integers(0, 8), st.sampled_from([0.0, 0.3]))
def test_an_image_is_weighed_by_its_own_boxes_alone(rows, seed, rate):
    """A part of a table, which may lack categories that others have, gets what the whole gives its images."""
    step, tables = Surround(relations=relations_of(seed, 0.6), rate=rate, support=1), tables_of(rows)
    whole = apply(step, tables)
    for image in {row[0] for row in rows}:
        alone = apply(step, [table.select_images([image]) for table in tables])
        assert alone.score.tolist() == whole.select_images([image]).score.tolist()


def test_raises_what_is_inside_and_lowers_what_is_not():
    relations = relations_of(0)
    counts = relations.surrounding._replace(inside=np.array([9, 0, 0, 0, 0]), around=np.array([1, 0, 0, 0, 0]))
    relations = dataclasses.replace(relations, surrounding=counts, category_objects=np.array([10, 40, 50]))
    # of ten objects of 2, nine lie inside a 5; of the other 60 none does: r is 9 / 60 over all that is not 5
    inside, outside, outer = (1, 2, 0.5, 1, 1, 2, 2), (1, 2, 0.5, 50, 50, 2, 2), (1, 5, 0.8, 0, 0, 10, 10)
    fused = surround(table_of([inside, outside, outer]), relations=relations, up=1.0, down=1.0, support=10)
    q, r = 0.9, 9 / 60
    log_ratio = 0.8 * math.log(q / r) + 0.2 * math.log((1 - q) / (1 - r))
    assert fused.score[0] == pytest.approx(1 / (1 + math.exp(-log_ratio)))
    assert fused.score[1] == pytest.approx(1 / (1 + (1 - r) / (1 - q)))
    assert fused.score[2] == 0.8
    assert fused.score[0] > 0.5 > fused.score[1]


def test_no_strength_changes_no_bit():
    rng = np.random.default_rng(0)
    n = 5000
    drawn = zip(rng.integers(0, 200, n), rng.choice(IDS, n), rng.random(n), *rng.integers(1, 9, (4, n)), strict=True)
    detections = table_of(list(drawn))
    assert surround(detections, relations=relations_of(1), up=0.0, down=0.0).arrow["score"] == detections.arrow["score"]


def test_same_for_any_number_of_threads(monkeypatch):
    rng = np.random.default_rng(0)
    n = 150_000
    drawn = zip(rng.integers(0, 20_000, n), rng.choice(IDS, n), rng.random(n), *rng.integers(1, 9, (4, n)), strict=True)
    detections, scores = table_of(list(drawn)), []
    for threads in "1", "3":
        monkeypatch.setenv("QUORUM_THREADS", threads)
        scores.append(surround(detections, relations=relations_of(1)).score)
    assert np.array_equal(*scores)


def test_recipe_and_errors():
    recipe = Recipe.chain([Surround(relations=relations_of(3), rate=0.2)])
    assert parse_recipe(recipe.to_toml()) == recipe
    relations = relations_of(0)
    with pytest.raises(InputError, match="learned on other categories"):
        surround(table_of([(1, 7, 0.5, 0, 0, 1, 1)]), relations=relations)
    nothing = dataclasses.replace(
        relations,
        category_id=np.zeros(0, np.int32),
        together=type(relations.together)(*(column[:0] for column in relations.together)),
        surrounding=type(relations.surrounding)(*(column[:0] for column in relations.surrounding)),
    )
    with pytest.raises(InputError, match="category 2 is not among its 0"):
        surround(table_of([(1, 2, 0.5, 0, 0, 1, 1)]), relations=nothing)
    with pytest.raises(InputError, match="expected probabilities in"):
        surround(table_of([(1, 2, -0.5, 0, 0, 1, 1)]), relations=relations)
    for option in ({"rate": 2.0}, {"up": -1.0}, {"down": math.nan}, {"support": 0.5}):
        with pytest.raises(InputError, match=next(iter(option))):
            Surround(relations=relations, **option)

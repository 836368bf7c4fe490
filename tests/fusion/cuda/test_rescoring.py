"""Twins that change scores, on every backend, against the plain definitions and the CPU's bits."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fusion.calibrate import Calibrate, CategoryMaps, ScoreMap
from fusion.cooccurrence import Cooccurrence
from fusion.errors import InputError
from fusion.nms import Nms
from fusion.pool import apply
from fusion.recipe import Recipe
from fusion.support import Support
from fusion.surround import Surround
from fusion.table import DetectionTable
from fusion.wbf import Wbf
from tests.fusion.cuda.test_session import masks, member, same
from tests.fusion.cuda.test_twins import SIMULATED, few, scene
from tests.fusion.relation_cases import IDS, listed, relations_of, rows, tables_of
from tests.fusion.test_cooccurrence import probabilities
from tests.fusion.test_surround import used_relations
from tests.oracles import relations as oracle
from tests.oracles.suppression import iou

# knots so near each other that many scores round to one value
FLAT = ScoreMap(kind="isotonic", score=[0.0, 0.5, 1.0], value=[0.5, math.nextafter(0.5, 1), 0.5 + 1e-15])
STEEP = ScoreMap(kind="linear", score=[0.2, 0.7], value=[1e-9, 0.9])
POINT = ScoreMap(kind="rank", score=[0.4], value=[0.3])
PLATT = ScoreMap(kind="platt", score=[0.2, 0.6], value=[0.1, 0.9])
FLAT_PLATT = ScoreMap(kind="platt", score=[0.0, 1.0], value=[0.5, 0.5 + 2e-16])
MAPS = {"a": FLAT, "b": CategoryMaps(pooled=STEEP, category={0: FLAT, 10: POINT}), "c": POINT}


# boxes inside and around each other, scores at the thresholds of the tests
NESTED = [
    (k % 2, IDS[k % 3], (0.25, 0.1, 0.5, 0.8, 0.3)[k % 5], k % 3, k % 2, (1, 6, 2, 8)[k % 4], (1, 6, 2, 8)[k % 4])
    for k in range(22)
]


def carried(seed, **more):
    """Two members with columns that a step has to carry on; scores and boxes tie often."""
    return [
        member("a", seed, mask=masks(24), votes=np.arange(24), view=["left", "right"] * 12, **more),
        member("b", seed + 1, kind=np.float32, votes=np.arange(24), **more),
    ]


def plainly_mapped(score_map, scores):
    """Map one group's scores; from the highest down each is below the one above it."""
    mapped, value = {}, math.inf
    for score in sorted(set(scores), reverse=True):
        value = min(float(score_map(np.array([score]))[0]), math.nextafter(value, 0))
        mapped[score] = value
    return [mapped[score] for score in scores]


@few
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([3, 20, 33]), ties=st.booleans())
def test_calibrate(backend, seed, size, ties):
    tables = scene(seed, size, categories=3, ties=ties)
    expected = []
    for table in tables:
        maps, scores, category = MAPS[table.metadata.member], table.score.copy(), table.category_id
        own = maps.category if isinstance(maps, CategoryMaps) else {}
        for kind in {*own, None}:
            rows = np.flatnonzero(category == kind if kind is not None else ~np.isin(category, list(own)))
            score_map = maps if isinstance(maps, ScoreMap) else own.get(kind, maps.pooled)
            scores[rows] = plainly_mapped(score_map, scores[rows].tolist())
        expected += zip(table.image_id.tolist(), scores.tolist(), strict=True)
    expected.sort(key=lambda row: row[0])
    fused = apply(Calibrate(maps=MAPS), tables, device=backend)
    assert list(zip(fused.image_id.tolist(), fused.score.tolist(), strict=True)) == expected
    same(fused, apply(Calibrate(maps=MAPS), tables))


def test_calibrate_keeps_many_equal_values_apart(backend):
    """Every score of a map that says nothing."""
    size = 60 if SIMULATED else 100_000
    tables = [
        DetectionTable.from_arrays(
            image_id=np.arange(size) % 7, category_id=np.ones(size, int), score=np.random.default_rng(m).random(size),
            xywh=np.ones((size, 4)),
        ).with_metadata(member=name)
        for m, name in enumerate("ab")
    ]  # fmt: skip
    step = Calibrate(maps={"a": FLAT, "b": ScoreMap(kind="rank", score=[-1e9], value=[0.5])})
    fused = apply(step, tables, device=backend)
    same(fused, apply(step, tables))
    for code in 0, 1:
        own = fused.member.indices.to_numpy() == code
        assert len(set(fused.score[own].tolist())) == size


def test_a_sigmoid(backend):
    """NumPy's exp is another one than that of the GPU, and than Python's."""
    tables = scene(5, 40, names=("a", "b"))
    step = Calibrate(maps={"a": PLATT, "b": FLAT_PLATT})
    fused, cpu = apply(step, tables, device=backend), apply(step, tables)
    np.testing.assert_allclose(fused.score, cpu.score, rtol=1e-15, atol=0)
    assert fused.arrow.drop_columns("score").equals(cpu.arrow.drop_columns("score"))
    for table, code in zip(tables, (0, 1), strict=True):
        mapped = fused.score[fused.member.indices.to_numpy() == code]
        assert np.array_equal(np.argsort(mapped, kind="stable"), np.argsort(table.score, kind="stable"))


def test_a_member_without_a_map_is_named(backend):
    with pytest.raises(InputError, match="calibration: there is none for member 'c'"):
        apply(Calibrate(maps={"a": FLAT, "b": FLAT}), scene(1, 12), device=backend)


@few
@example(NESTED, 0, 0.25, 0.1, 1)
@example([(0, 2, 0.25, 0, 0, 1, 1), (0, 5, 0.1, 0, 0, 1, 1)], 1, 0.25, 0.1, 1)
@given(rows, st.integers(0, 5), st.sampled_from([0.0, 0.25]), st.sampled_from([0.0, 0.1]), st.sampled_from([1, 30]))
def test_cooccurrence(backend, boxes, seed, least_given, least, support):
    relations, tables = relations_of(seed), tables_of(boxes)
    step = Cooccurrence(relations=relations, given=least_given, least=least, support=support)
    expected = oracle.raise_scores(
        [row[:3] for row in listed(tables)], probabilities(relations, "conditional", support), least_given, least
    )
    fused = apply(step, tables, device=backend)
    image = [row[0] for row in listed(tables)]
    assert fused.score.tolist() == [expected[k] for k in sorted(range(len(image)), key=image.__getitem__)]
    same(fused, apply(step, tables))


@few
@example(NESTED, 0, 0.0, 1.0, 0.5)
@example(NESTED, 1, 0.0, 0.5, 0.5)
@given(rows, st.integers(0, 8), st.sampled_from([0.0, 0.3]), st.sampled_from([0.5, 1.0]), st.sampled_from([0.0, 0.5]))
def test_surround(backend, boxes, seed, rate, up, down):
    relations, tables = relations_of(seed, 0.6), tables_of(boxes)
    step = Surround(relations=relations, rate=rate, up=up, down=down, support=1)
    used = used_relations(relations, rate, 1, {row[1] for row in boxes})
    expected = oracle.weigh_scores(listed(tables), used, 0.6, up, down)
    fused, cpu = apply(step, tables, device=backend), apply(step, tables)
    image = [row[0] for row in listed(tables)]
    order = sorted(range(len(image)), key=image.__getitem__)
    np.testing.assert_allclose(fused.score, [expected[k] for k in order], rtol=1e-12, atol=0)
    if backend == "cuda" and not SIMULATED:
        np.testing.assert_allclose(fused.score, cpu.score, rtol=1e-15, atol=0)  # the GPU's exp is another one
    else:
        same(fused, cpu)


@pytest.mark.parametrize("step", [Cooccurrence(relations=relations_of(1)), Surround(relations=relations_of(1))])
def test_only_probabilities_and_known_categories_are_taken(backend, step):
    [table] = tables_of([(1, 2, 0.5, 0, 0, 1, 1)])[:1]
    raised = DetectionTable.from_arrays(image_id=[1], category_id=[2], score=[1.5], xywh=[[0, 0, 1, 1]])
    with pytest.raises(InputError, match=r"has a score of 1\.5; expected probabilities"):
        apply(step, [table, raised.with_metadata(member="b")], device=backend)
    unknown = DetectionTable.from_arrays(image_id=[1], category_id=[3], score=[0.5], xywh=[[0, 0, 1, 1]])
    with pytest.raises(InputError, match="category 3 is not among its 3"):
        apply(step, [table, unknown.with_metadata(member="b")], device=backend)


def test_partners_are_looked_for_among_the_categories_that_are_left(backend):
    """Categories of the session that a step's input does not have are no evidence either way."""
    tables = tables_of([(1, IDS[k % 3], 0.3 if k % 3 == 2 else 0.6 + k / 50, 0, 0, 2 + k % 5, 6) for k in range(14)])
    gone = Wbf(weights={"a": 1.0, "b": 1.0}, skip_box_threshold=0.55)
    recipe = Recipe.chain([gone, Surround(relations=relations_of(5, 0.6), rate=0.0, down=1.0, support=1)])
    same(recipe.fuse(tables, device=backend), recipe.fuse(tables))


@few
@given(seed=st.integers(0, 2**32 - 1), factor=st.sampled_from([0.0, 0.3, 1.0]), threshold=st.sampled_from([0.0, 0.5]))
def test_support(backend, seed, factor, threshold):
    tables = scene(seed, 24, ties=True, flat=True)
    boxes = [
        (number, *row)
        for number, table in enumerate(tables)
        for row in zip(table.image_id.tolist(), table.category_id.tolist(), table.xywh, table.score, strict=True)
    ]
    expected = []
    for number, image, category, (x, y, w, h), score in boxes:
        found = any(
            other[0] != number
            and other[1:3] == (image, category)
            and iou((x, y, x + w, y + h), (*other[3][:2], *(other[3][:2] + other[3][2:]))) >= threshold
            for other in boxes
        )
        if found or factor > 0:
            expected.append((image, category, score if found else score * factor))
    expected.sort(key=lambda row: row[0])
    step = Support(factor=factor, iou=threshold)
    fused = apply(step, tables, device=backend)
    assert list(zip(fused.image_id, fused.category_id, fused.score, strict=True)) == expected
    same(fused, apply(step, tables))


@pytest.mark.parametrize("names", [False, True])
def test_other_columns_are_carried(backend, names):
    more = {"ids": lambda image: np.array(list("qpr"))[image]} if names else {}
    maps = {"a": FLAT, "b": CategoryMaps(pooled=POINT, category={7: STEEP})}
    recipe = Recipe.chain([Calibrate(maps=maps), Support(), Nms()])
    same(recipe.fuse(carried(3, **more), device=backend), recipe.fuse(carried(3, **more)))
    step = Support(factor=0.0, iou=0.3)
    same(apply(step, carried(3, **more), device=backend), apply(step, carried(3, **more)))

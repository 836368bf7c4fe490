"""Twins that change scores, on every backend, against the plain definitions and the CPU's bits."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fusion.errors import InputError
from fusion.recipe import Recipe
from fusion.run import apply
from fusion.score_maps import CategoryMaps, ScoreMap
from fusion.steps.calibrate import Calibrate
from fusion.steps.cooccurrence import Cooccurrence
from fusion.steps.nms import Nms
from fusion.steps.select_experts import SelectExperts
from fusion.steps.support import Support
from fusion.steps.surround import Surround
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable
from tests.fusion.cuda.test_session import masks, member, same
from tests.fusion.cuda.test_twins import SIMULATED, few, scene
from tests.fusion.relation_cases import IDS, listed, relations_of, rows, tables_of
from tests.fusion.steps.test_cooccurrence import probabilities
from tests.fusion.steps.test_select_experts import NAMES, ROW
from tests.fusion.steps.test_select_experts import table as expert_table
from tests.fusion.steps.test_surround import used_relations
from tests.oracles import experts as experts_oracle
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
    used = used_relations(relations, rate, 1)
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


@few
@given(
    st.lists(ROW, max_size=8), st.lists(ROW, max_size=8), st.lists(ROW, min_size=1, max_size=8),
    st.sets(st.integers(1, 5)), st.sets(st.integers(1, 5)), st.sampled_from(["take", "add", "weigh"]), st.booleans(),
)  # fmt: skip
def test_select_experts(backend, on_gpu, base, one, two, first, second, mode, gate):
    rows = [sorted(part, key=lambda row: row[0]) for part in (base, one, two)]
    categories = {1: sorted(first), 2: sorted(second)}
    weights = {1: 0.3, 2: {category: category / 7 - 1 / 7 for category in range(1, 6)}} if mode == "weigh" else {}
    flat = [(number, *row) for number, part in enumerate(rows) for row in part]
    expected = [(*flat[k][1:3], score) for k, score in experts_oracle.select(flat, categories, mode, weights, gate)]
    tables = [expert_table(part, name) for part, name in zip(rows, ("base", "e1", "e2"), strict=True)]
    step = SelectExperts(
        categories={NAMES[k]: v for k, v in categories.items()},
        mode=mode,
        weights={NAMES[k]: v for k, v in weights.items()},
        gate=gate,
    )
    fused = apply(step, tables, device=backend)
    listed = zip(fused.image_id.tolist(), fused.category_id.tolist(), fused.score.tolist(), strict=True)
    assert list(listed) == sorted(expected, key=lambda row: row[0])
    same(fused, apply(step, tables))


@pytest.mark.parametrize("many", [False, True])
def test_the_gate_adds_up_each_region_in_the_order_of_its_rows(backend, on_gpu, many):
    """Two models' regions with the same boxes, whose background is as likely as the best category but for rounding.

    With many images, all regions of one are in the same bucket.
    """
    rng, regions, kinds = np.random.default_rng(6), 16 if SIMULATED else 2000, 5
    score = rng.random((regions, kinds))
    score /= (score.sum(axis=1) + score.max(axis=1))[:, None]
    box = np.repeat(np.arange(regions) // 2, kinds)
    xywh = np.stack([box // 2 - 1, np.where(rng.random(len(box)) < 0.5, 0.0, -0.0), 1 + box % 2, box * 0 + 1], axis=1)
    model = np.repeat(np.array(["e", "f"])[np.arange(regions) % 2], kinds)
    images = 2 * len(box) if many else 3
    base = DetectionTable.from_arrays(
        image_id=np.arange(images), category_id=np.zeros(images, int), score=np.full(images, 7.0),
        xywh=np.ones((images, 4)),
    )  # fmt: skip

    def gated(order, device):
        expert = DetectionTable.from_arrays(
            image_id=box[order] % 3, category_id=np.tile(np.arange(kinds), regions)[order], score=score.ravel()[order],
            xywh=xywh[order], member=model[order],
        ).with_metadata(member="expert")  # fmt: skip
        return apply(SelectExperts(categories={"expert": range(kinds)}, gate=True), [base, expert], device=device)

    order = rng.permutation(len(box))
    fused = gated(order, backend)
    same(fused, gated(order, "cpu"))
    assert 0 < len(fused) < len(box)
    assert set(fused.score.tolist()) != set(gated(order[::-1], "cpu").score.tolist())


def test_experts_carry_their_columns(backend, on_gpu):
    narrow = [member(name, k, kind=np.float32, member=["x" + name, "y" + name] * 12) for k, name in enumerate("ab")]
    for mode in "take", "add", "weigh":
        step = SelectExperts(categories={"b": [7, 21]}, mode=mode, weights={"b": 0.3} if mode == "weigh" else {})
        same(apply(step, carried(4), device=backend), apply(step, carried(4)))
        fused = apply(step, narrow, device=backend)
        same(fused, apply(step, narrow))
        assert fused.score.dtype == (np.float64 if mode == "weigh" else np.float32)


def test_experts_that_cannot_be_used_are_named(backend):
    base = expert_table([(1, 1, 0, 0.5)], "base")
    loud = expert_table([(1, 1, 0, 0.8), (1, 2, 0, 0.9)], "expert")
    step = SelectExperts(categories={"expert": [1]}, gate=True)
    with pytest.raises(InputError, match=r"expert 'expert': the scores of a region sum to 1.7 .* no softmax"):
        apply(step, [base, loud], device=backend)
    below = expert_table([(1, 1, 0, -0.5)], "expert")
    with pytest.raises(InputError, match=r"the scores of a region sum to -0.5 .* no softmax"):
        apply(step, [base, below], device=backend)
    assert len(apply(step, [loud.with_metadata(member="base"), below.select_images([])], device=backend)) == 1
    with pytest.raises(InputError, match=r"categories for expert 'expert'; the inputs are base 'base'"):
        apply(step, base, device=backend)
    weigh = SelectExperts(categories={"expert": [1, 2]}, mode="weigh", weights={"expert": {1: 1}})
    with pytest.raises(InputError, match=r"weights of expert expert: there is none for category 2"):
        apply(weigh, [base, loud], device=backend)


@pytest.mark.parametrize("names", [False, True])
def test_other_columns_are_carried(backend, names):
    more = {"ids": lambda image: np.array(list("qpr"))[image]} if names else {}
    maps = {"a": FLAT, "b": CategoryMaps(pooled=POINT, category={7: STEEP})}
    recipe = Recipe.chain([Calibrate(maps=maps), Support(), Nms()])
    same(recipe.fuse(carried(3, **more), device=backend), recipe.fuse(carried(3, **more)))
    step = Support(factor=0.0, iou=0.3)
    same(apply(step, carried(3, **more), device=backend), apply(step, carried(3, **more)))

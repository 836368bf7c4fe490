"""The engine: what it hands to the evaluation is what the recipe gives, whatever is chunked or kept."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle

from evaluation import GroundTruth, prepare
from evaluation.protocol import Coco
from fusion.masks import mask_array
from fusion.recipe_toml import parse_recipe
from fusion.steps.reweight import Reweight
from fusion.table import DetectionTable, Metadata
from search.baselines import flat
from search.engine import Engine, category_chunks
from search.genome import KINDS, PARTS, Genome, Operator, recipe_of
from search.population import mutated
from search.problem import CategoryAp
from search.pruning import Incumbent
from search.sheet import FoldSides
from tests.search.members import SIMULATED, fusers_on, make_members, make_truth, table_of, with_corners, with_ties
from tests.search.test_genome import random_genome

SIZE = {"images": 3, "objects": 16} if SIMULATED else {}
SMALL = make_truth(9, **SIZE) if SIMULATED else None
COLUMNS = ("image_id", "category_id", "score", "x", "y", "w", "h")


def examples(number):
    return settings(
        max_examples=3 if SIMULATED else number,
        deadline=None,
        # the fixture gives the same string each time
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def make_engine(tables, truth, *, device="cpu", parts=1, memory=1 << 24):
    counts = np.ones(len(truth.category_id), np.int64)
    chunks = category_chunks(truth.category_id, counts, parts)
    return Engine(fusers_on(device, tables, chunks, CategoryAp(prepare(truth, Coco()))), memory=memory)


def replayed(genome, tables):
    return recipe_of(genome, [table.metadata.member for table in tables]).fuse(tables)


def assert_same(table, other, *, rtol=0.0):
    for name in COLUMNS:
        own, its = table.column(name), other.column(name)
        if rtol and name not in ("image_id", "category_id"):
            np.testing.assert_allclose(own, its, rtol=rtol, atol=0, err_msg=name)
        else:
            np.testing.assert_array_equal(own, its, err_msg=name)
    for near in "xy":
        np.testing.assert_array_equal(table.far(near), other.far(near))
    assert table.metadata.boxes == other.metadata.boxes


def assert_replayed(device, tables, genome):
    """The engine's answer is the recipe's: to the last bit but where the GPU takes its own exp."""
    gaussian = any(operator.kind in ("soft_nms", "adj_nms") for operator in genome.operators)
    own, other = table_of(device, tables, genome), replayed(genome, tables)
    assert_same(own, other, rtol=1e-15 if gaussian and device != "cpu" else 0.0)
    return own, other


@examples(80)
@given(st.integers(0, 2**32), st.integers(1, 6), st.sampled_from([0, 3, 20]), st.booleans())
def test_a_candidate_is_its_recipe_to_the_last_bit(backend, seed, members, steps, corners):
    tables = make_members(seed, members, SMALL)
    tables = with_ties(tables, steps) if steps else tables
    tables = with_corners(tables) if corners else tables
    genome = random_genome(seed, members).canonical()
    if genome.pruned is not None:
        assert_replayed(backend, tables, genome)


@examples(80)
@given(st.integers(0, 2**32), st.integers(1, 6), st.booleans(), st.booleans())
def test_with_weights_of_sides_a_candidate_is_its_recipe_to_the_last_bit(seed, members, steps, treated):
    """Of each fold its own; whether a leaf is a member's table or the answer of a step, which names it in a column."""
    rng = np.random.default_rng((seed, 3))
    truth = make_truth(seed)
    tables = make_members(seed, members, truth)
    tables = with_ties(tables, 20) if steps else tables
    names = [table.metadata.member for table in tables]
    folds = int(rng.integers(1, 4))
    sides = FoldSides(
        rng.uniform(0.05, 4, (folds, members, 4)), truth.image_id, rng.integers(0, folds, len(truth.image_id))
    )
    genome = random_genome(seed, members).canonical()
    if genome.pruned is None:
        return
    leaf_steps = {name: (Reweight(weights={name: 1.0}),) for name in names} if treated else None
    own = table_of("cpu", tables, genome, sides)
    for fold, rows in enumerate(sides.weight.tolist()):
        weights = {name: tuple(row) for name, row in zip(names, rows, strict=True)}
        recipe = parse_recipe(recipe_of(genome, names, leaf_steps=leaf_steps, box_weights=weights).to_toml())
        held = truth.image_id[sides.fold == fold]
        assert_same(own.select_images(held), recipe.fuse([table.select_images(held) for table in tables]))


def test_weights_of_sides_move_the_boxes_of_every_node_that_averages():
    truth = make_truth(5)
    tables = make_members(5, 3, truth)
    names, ones = [table.metadata.member for table in tables], (1.0,) * 4
    rows = [ones, (0.1, 0.1, 4.0, 4.0), (2.0,) * 4]
    one_fold = truth.image_id, np.zeros(len(truth.image_id), int)
    equal, sides = (FoldSides(np.array([own]), *one_fold) for own in ([ones] * 3, rows))
    tree = ((0, 1), 2)
    for kind in ("wbf", "nmw", "vote"):
        for kinds in (("concat", kind), (kind, "concat"), ("nms", kind)):
            genome = Genome(tree, (1.0,) * 3, tuple(Operator(kind=one) for one in kinds))
            plain, level, moved = (table_of("cpu", tables, genome, one) for one in (None, equal, sides))
            assert plain.score.tobytes() == level.score.tobytes()
            if kind != "vote":  # of weights that are all 1 sums are taken in another order
                np.testing.assert_allclose(plain.xywh, level.xywh, rtol=1e-5)
            assert not np.allclose(plain.xywh, moved.xywh, rtol=1e-3)
            weights = dict(zip(names, rows, strict=True))
            assert_same(moved, recipe_of(genome, names, box_weights=weights).fuse(tables))


def test_a_fusion_counts_as_the_mean_of_its_members():
    weights = {"a": (1.0, 2.0, 3.0, 4.0), "b": (3.0, 2.0, 1.0, 0.5), "c": (0.25,) * 4}
    genome = Genome(((0, 1), 2), (1.0,) * 3, (Operator(kind="wbf"), Operator(kind="wbf", part="first_boxes")))
    nodes = recipe_of(genome, ["a", "b", "c"], box_weights=weights).nodes
    assert nodes["node1"].step.box_weights == {"a": weights["a"], "b": weights["b"]}
    assert nodes["output"].step.box_weights == {"node2-part": (2.0, 2.0, 2.0, 2.25), "c": weights["c"]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", PARTS)
def test_every_operator_is_its_steps(backend, kind, part):
    tables = with_ties(make_members(5, 3, SMALL), 12)
    operators = (Operator(kind="wbf", part=part), Operator(kind=kind, part=part, factor=0.5))
    assert_replayed(backend, tables, Genome(((0, 1), 2), (1.0, 0.5, 1.0), operators))


def test_names_of_images_single_precision_and_empty_members(backend):
    truth = make_truth(3)
    names = np.array([f"img{number:03d}" for number in range(100)], dtype=object)
    tables = []
    for number, table in enumerate(make_members(3, 4, truth)):
        rows = slice(0, 0) if number == 2 else slice(None)
        tables.append(
            DetectionTable.from_arrays(
                image_id=names[table.image_id[rows]] if number != 2 else pa.array([], pa.string()).dictionary_encode(),
                category_id=table.category_id[rows],
                score=table.score[rows].astype(np.float32),
                xywh=table.xywh[rows].astype(np.float32),
                metadata=table.metadata,
            )
        )
    for seed in range(4 if SIMULATED else 20):
        genome = random_genome(seed, 4).canonical()
        if genome.pruned not in (None, 2):
            assert_replayed(backend, tables, genome)


def test_masks_are_those_of_the_recipe(backend):
    rng = np.random.default_rng(0)
    truth, tables = make_truth(4), []
    for number, table in enumerate(make_members(4, 3, truth)):
        height = np.full(len(table), 60, np.int32)
        counts = [
            rle.encode(np.asfortranarray(rng.random((60, 50)) < 0.1, np.uint8))["counts"] for _ in range(len(table))
        ]
        drawn = mask_array(height, np.full(len(table), 50, np.int32), counts)
        boxes = {"given": "given", "drawn": "from_masks"}["drawn" if number else "given"]
        tables.append(
            DetectionTable(
                table.arrow.append_column("mask", drawn), Metadata(member=table.metadata.member, boxes=boxes)
            )
        )
    for seed in range(4 if SIMULATED else 20):
        genome = random_genome(seed, 3).canonical()
        if genome.pruned is not None:
            own, other = assert_replayed(backend, tables, genome)
            assert own.mask.equals(other.mask)


@examples(15)
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([0, 3_000 if SIMULATED else 30_000, 1 << 24]))
def test_chunks_and_memory_do_not_change_a_digit(backend, seed, parts, memory):
    truth = make_truth(seed, **SIZE)
    members, times = (3, 2) if SIMULATED else (5, 6)
    tables = with_ties(make_members(seed, members, truth), 10)
    engine = make_engine(tables, truth, device=backend, parts=parts, memory=memory)
    prepared = prepare(truth, Coco())
    rng = np.random.default_rng(seed)
    genome = random_genome(seed, members).canonical()
    for _ in range(times):
        outcome = engine.evaluate(genome)
        if genome.pruned is not None:
            result = prepared.evaluate(replayed(genome, tables))
            np.testing.assert_array_equal(outcome.per_category, result.average_precision_per_category)
            assert outcome.value == pytest.approx(result.AP, abs=1e-12)
        else:
            assert outcome.value == 0
        assert engine.kept_bytes <= memory
        genome = mutated(genome, rng).canonical()


def test_kept_results_are_used_and_bounded(backend):
    truth = make_truth(1, **SIZE)
    tables = make_members(1, 5, truth)
    genome = Genome(((((0, 1), 2), 3), 4), (1.0,) * 5, (Operator(),) * 4)
    other = Genome(genome.tree, (1.0,) * 5, (*genome.operators[:3], Operator(kind="nms")))
    engine = make_engine(tables, truth, device=backend)
    engine.evaluate(genome)
    engine.evaluate(other)
    assert (engine.profile.calls["Vote"], engine.profile.calls["Nms"]) == (4, 1)
    assert engine.profile.reused == 1
    whole = engine.kept_bytes
    tight = make_engine(tables, truth, device=backend, memory=whole // 2)
    for candidate in (genome, other, genome):
        tight.evaluate(candidate)
        assert 0 < tight.kept_bytes <= whole // 2


def test_no_member_is_worth_nothing_and_no_detection_either(backend):
    truth = make_truth(0)
    tables = make_members(0, 2, truth)
    engine = make_engine(tables, truth, device=backend)
    outcome = engine.evaluate(flat([0.0, 0.0], Operator()))
    assert (outcome.value, outcome.pruned) == (0.0, False)
    assert len(outcome.per_category) == len(truth.category_id)
    empty = make_engine([table.select_images([]) for table in tables], truth, device=backend)
    for operator in (Operator(), Operator(part="first_scores", factor=0.5), Operator(kind="concat")):
        outcome = empty.evaluate(flat([0.5, 1.0], operator))
        assert (outcome.value, outcome.pruned) == (0.0, False)


def test_every_device_gives_up_at_the_same_look(backend):
    truth = make_truth(6, images=6, categories=60, objects=200)
    tables = with_ties(make_members(6, 3, truth), 10)
    best, *genomes = (flat(weights, Operator(kind="wbf")) for weights in ([1.0] * 3, [0.5, 0, 0.25], [0, 0, 1.0]))
    genomes.append(
        Genome(((0, 1), 2), (0.5, 1.0, 1.0), (Operator(part="first_boxes"), Operator(kind="nmw", factor=0.5)))
    )
    engines = [make_engine(tables, truth, device=device, parts=6) for device in ("cpu", backend)]
    figures = engines[0].evaluate(best).per_category
    given_up = []
    for genome, margin in zip(genomes, (0.0, -0.21, -0.09), strict=True):
        incumbent = Incumbent(truth.category_id, figures + margin, 0.01)
        own, its = (engine.evaluate(genome, incumbent) for engine in engines)
        assert (own.value, own.pruned) == (its.value, its.pruned)
        np.testing.assert_array_equal(own.per_category, its.per_category)
        given_up.append((own.pruned, int(np.isnan(own.per_category).sum())))
    assert given_up == [(True, 11), (True, 21), (False, 0)]


def test_categories_without_ground_truth_do_not_count(backend):
    truth = make_truth(0)
    wide = GroundTruth.from_arrays(
        image_id=truth.image_id,
        category_id=np.arange(1, 7),
        annotation_image_id=truth.image_id[truth.image],
        annotation_category_id=truth.category_id[truth.category],
        xywh=truth.xywh,
    )
    tables = make_members(0, 2, truth)
    genome = flat([1.0, 1.0], Operator())
    narrow, broad = (make_engine(tables, t, device=backend, parts=3).evaluate(genome) for t in (truth, wide))
    assert narrow.value == broad.value
    assert np.isnan(broad.per_category).tolist() == [False] * 4 + [True] * 2


def test_chunks_hold_every_category_once_and_the_frequent_ones_last():
    ids = np.array([3, 5, 8, 9, 12], np.int32)
    chunks = category_chunks(ids, np.array([10, 1, 100, 2, 0]), 3)
    assert sorted(np.concatenate(chunks)) == ids.tolist()
    assert chunks[-1].tolist()[-1] == 8
    assert [len(chunk) for chunk in category_chunks(ids, np.zeros(5, np.int64), 1)] == [5]

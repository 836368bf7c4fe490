"""The engine: what it hands to the evaluation is what the recipe gives, whatever is chunked or kept."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle

from evaluation import GroundTruth, prepare
from evaluation.protocol import Coco
from fusion.masks import mask_array
from fusion.table import DetectionTable, Metadata
from search.baselines import flat
from search.engine import Engine, category_chunks
from search.evaluators import chunked
from search.genome import Genome, Operator, recipe_of
from search.population import mutated
from search.problem import CategoryAp
from search.sheet import leaves_of
from tests.search.members import make_members, make_truth, with_ties
from tests.search.test_genome import random_genome

COLUMNS = ("image_id", "category_id", "score", "x", "y", "w", "h")


def make_engine(tables, truth, *, parts=1, memory=1 << 24):
    counts = np.ones(len(truth.category_id), np.int64)
    chunks = category_chunks(truth.category_id, counts, parts)
    return Engine(chunked(tables, chunks), CategoryAp(prepare(truth, Coco())), chunks, memory=memory)


def replayed(genome, tables):
    return recipe_of(genome, [table.metadata.member for table in tables]).fuse(tables)


def assert_same(table, other):
    for name in COLUMNS:
        np.testing.assert_array_equal(table.column(name), other.column(name), err_msg=name)
    assert table.metadata.boxes == other.metadata.boxes


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.sampled_from([0, 3, 20]))
def test_a_candidate_is_its_recipe_to_the_last_bit(seed, members, steps):
    tables = make_members(seed, members)
    tables = with_ties(tables, steps) if steps else tables
    genome = random_genome(seed, members).canonical()
    if genome.pruned is not None:
        engine = Engine([leaves_of(tables)], None, [np.arange(1, 5)], memory=0)
        assert_same(engine.fuse(genome, 0), replayed(genome, tables))


def test_names_of_images_single_precision_and_empty_members():
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
    for seed in range(20):
        genome = random_genome(seed, 4).canonical()
        if genome.pruned not in (None, 2):
            engine = Engine([leaves_of(tables)], None, [np.arange(1, 5)], memory=0)
            assert_same(engine.fuse(genome, 0), replayed(genome, tables))


def test_masks_are_those_of_the_recipe():
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
    for seed in range(20):
        genome = random_genome(seed, 3).canonical()
        if genome.pruned is not None:
            own, other = (
                Engine([leaves_of(tables)], None, [np.arange(1, 5)], memory=0).fuse(genome, 0),
                replayed(genome, tables),
            )
            assert_same(own, other)
            assert own.mask.equals(other.mask)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([0, 30_000, 1 << 24]))
def test_chunks_and_memory_do_not_change_a_digit(seed, parts, memory):
    truth = make_truth(seed)
    tables = with_ties(make_members(seed, 5, truth), 10)
    engine = make_engine(tables, truth, parts=parts, memory=memory)
    prepared = prepare(truth, Coco())
    rng = np.random.default_rng(seed)
    genome = random_genome(seed, 5).canonical()
    for _ in range(6):
        outcome = engine.evaluate(genome)
        if genome.pruned is not None:
            result = prepared.evaluate(replayed(genome, tables))
            np.testing.assert_array_equal(outcome.per_category, result.average_precision_per_category)
            assert outcome.value == pytest.approx(result.AP, abs=1e-12)
        else:
            assert outcome.value == 0
        assert engine.kept_bytes <= memory
        genome = mutated(genome, rng).canonical()


def test_kept_results_are_used_and_bounded():
    truth = make_truth(1)
    tables = make_members(1, 5, truth)
    genome = Genome(((((0, 1), 2), 3), 4), (1.0,) * 5, (Operator(),) * 4)
    other = Genome(genome.tree, (1.0,) * 5, (*genome.operators[:3], Operator(kind="nms")))
    engine = make_engine(tables, truth)
    engine.evaluate(genome)
    merges = engine.profile.calls["merge"]
    engine.evaluate(other)
    assert engine.profile.calls["merge"] == merges + 1
    assert engine.profile.reused == 1
    whole = engine.kept_bytes
    tight = make_engine(tables, truth, memory=whole // 2)
    for candidate in (genome, other, genome):
        tight.evaluate(candidate)
        assert 0 < tight.kept_bytes <= whole // 2


def test_no_member_is_worth_nothing_and_no_detection_either():
    truth = make_truth(0)
    engine = make_engine(make_members(0, 2, truth), truth)
    outcome = engine.evaluate(flat([0.0, 0.0], Operator()))
    assert (outcome.value, outcome.pruned) == (0.0, False)
    assert len(outcome.per_category) == len(truth.category_id)


def test_categories_without_ground_truth_do_not_count():
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
    narrow, broad = (make_engine(tables, t, parts=3).evaluate(genome) for t in (truth, wide))
    assert narrow.value == broad.value
    assert np.isnan(broad.per_category).tolist() == [False] * 4 + [True] * 2


def test_chunks_hold_every_category_once_and_the_frequent_ones_last():
    ids = np.array([3, 5, 8, 9, 12], np.int32)
    chunks = category_chunks(ids, np.array([10, 1, 100, 2, 0]), 3)
    assert sorted(np.concatenate(chunks)) == ids.tolist()
    assert chunks[-1].tolist()[-1] == 8
    assert [len(chunk) for chunk in category_chunks(ids, np.zeros(5, np.int64), 1)] == [5]

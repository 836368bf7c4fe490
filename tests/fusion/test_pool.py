import numpy as np
import pyarrow as pa
import pytest

from fusion.columns import Fused
from fusion.errors import InputError
from fusion.pool import pool_tables
from fusion.run import apply, trace
from fusion.steps.base import Rescored
from fusion.table import DetectionTable
from fusion.table_columns import MASK_TYPE
from tests.fusion.steps.cases import STEPS


def table(member, image_id, score, category_id=None, **more):
    n = len(image_id)
    xywh = np.arange(4 * n, dtype=float).reshape(n, 4) + 0.1
    return DetectionTable.from_arrays(
        image_id=image_id, category_id=category_id or [1] * n, score=score, xywh=xywh, **more
    ).with_metadata(member=member)


class KeepAll:
    def fuse(self, pool, sources=False):
        columns = pool.columns
        cell = np.repeat(np.arange(len(columns.image)), np.diff(columns.start))
        return Fused(cell, columns.row, columns.score, None, None, None)


class Halve:
    def fuse(self, pool, sources=False):
        score = pool.column("score")
        return Rescored(np.arange(len(score)), score / 2)


class Move:
    def fuse(self, pool, sources=False):
        columns = pool.columns
        corners = np.stack([columns.x1, columns.y1, columns.x2, columns.y2], axis=1)
        cell = np.repeat(np.arange(len(columns.image)), np.diff(columns.start))
        return Fused(cell, columns.row, columns.score, corners, np.ones(len(cell), np.int16), None)


def test_pool_counts_rows_through_the_tables():
    pool = pool_tables([table("a", [5, 2], [0.1, 0.9]), table("b", [2, 7], [0.95, 0.3])])
    assert pool.members == ("a", "b")
    assert pool.image_ids.tolist() == [2, 5, 7]
    assert pool.columns.row.tolist() == [2, 0, 1, 3]
    assert pool.columns.member.tolist() == [1, 0, 0, 1]
    assert pool.columns.score.tolist() == [0.95, 0.9, 0.1, 0.3]


def test_kept_rows_keep_every_bit_and_their_member():
    a, b = table("a", [5, 2], [0.1, 0.9]), table("b", [2, 7], [0.95, 0.3])
    fused = apply(KeepAll(), [a, b])
    assert fused.image_id.tolist() == [2, 2, 5, 7]
    assert fused.member.to_pylist() == ["b", "a", "a", "b"]
    assert fused.xywh[1].tolist() == a.xywh[0].tolist()
    again = pool_tables(fused)
    assert again.members == ("a", "b")


def test_rescored_rows_stay_in_image_order():
    fused = apply(Halve(), [table("a", [5, 2], [0.1, 0.9]), table("b", [2, 7], [0.95, 0.3])])
    assert fused.image_id.tolist() == [2, 2, 5, 7]
    assert fused.score.tolist() == [0.45, 0.475, 0.05, 0.15]
    one = apply(Halve(), table("a", [5, 2], [0.1, 0.9]))
    assert one.member.to_pylist() == ["a", "a"]


def test_new_boxes_are_a_member_of_their_own():
    fused = apply(Move(), [table("a", [2], [0.9]), table("b", [2], [0.8])])
    assert fused.member is None
    assert fused.metadata.member is None
    assert fused.column("votes").tolist() == [1, 1]


def test_masks_are_carried_and_missing_ones_are_null():
    mask = pa.array([{"height": 1, "width": 2, "counts": b"0"}, None], MASK_TYPE)
    fused = apply(KeepAll(), [table("a", [2, 5], [0.1, 0.9], mask=mask), table("b", [2, 7], [0.95, 0.3])])
    assert [m and m["counts"] for m in fused.mask.to_pylist()] == [None, b"0", None, None]


def test_trace_names_the_rows():
    tables = [table("a", [5, 2], [0.1, 0.9]), table("b", [2, 7], [0.95, 0.3])]
    fused, sources = trace(KeepAll(), tables)
    assert sources.row.tolist() == [2, 0, 1, 3]
    assert sources.start.tolist() == [0, 1, 2, 3, 4]
    rescored, sources = trace(Halve(), tables)
    both = np.concatenate([t.score for t in tables])
    np.testing.assert_array_equal(rescored.score, both[sources.row] / 2)
    assert len(fused) == len(rescored)


def test_empty_tables():
    empty = table("a", [], [])
    assert len(apply(KeepAll(), empty)) == 0
    fused = apply(KeepAll(), [empty, table("b", [2, 7], [0.95, 0.3])])
    assert fused.score.tolist() == [0.95, 0.3]
    strings = table("b", ["x", "y"], [0.95, 0.3])
    assert apply(KeepAll(), [empty, strings]).image_id.tolist() == ["x", "y"]


def test_wide_category_ids():
    fused = apply(KeepAll(), [table("a", [1, 1], [0.1, 0.2], [2_000_000_000, -5]), table("b", [1], [0.3], [7])])
    assert fused.category_id.tolist() == [-5, 7, 2_000_000_000]


def test_errors():
    a = table("a", [1], [0.5])
    with pytest.raises(InputError, match="no table"):
        apply(KeepAll(), [])
    with pytest.raises(InputError, match="both bring a member called 'a'"):
        apply(KeepAll(), [a, a])
    with pytest.raises(InputError, match=r"tables a and b: differ in unit \(pixel and normalized\)"):
        apply(KeepAll(), [a, table("b", [1], [0.5]).with_metadata(unit="normalized")])
    with pytest.raises(InputError, match="differ in categories"):
        apply(KeepAll(), [a.with_metadata(categories="x"), table("b", [1], [0.5]).with_metadata(categories="y")])
    with pytest.raises(InputError, match="integer image ids and some have strings"):
        apply(KeepAll(), [a, table("b", ["1"], [0.5])])


CELLWISE = {name: kind for name, kind in STEPS.items() if getattr(kind, "cellwise", False)}


@pytest.mark.parametrize("size", [1, 7, 40])
@pytest.mark.parametrize("name", CELLWISE)
def test_the_answer_for_all_images_does_not_depend_on_the_ranges(name, size, monkeypatch):
    rng = np.random.default_rng(size)
    tables = []
    for member in "abc":
        n = 90
        corner, side = rng.integers(0, 20, (n, 2)), rng.integers(1, 12, (n, 2))
        table = DetectionTable.from_arrays(
            image_id=rng.integers(0, 9, n) * 3,
            category_id=rng.integers(0, 3, n),
            score=rng.integers(1, 9, n) / 10,
            xywh=np.hstack([corner, side]).astype(float),
        )
        tables.append(table.with_metadata(member=member))
    tables[0] = tables[0].select_images([0, 3, 24])
    step = CELLWISE[name]()
    whole, sources = trace(step, tables)
    assert np.array_equal(step.fuse(pool_tables(tables)).score, whole.score)
    monkeypatch.setattr("fusion.columns._RANGE", size)
    parts, part_sources = trace(step, tables)
    assert parts.arrow.equals(whole.arrow)
    assert apply(step, tables).arrow.equals(whole.arrow)
    assert np.array_equal(sources.start, part_sources.start)
    assert np.array_equal(sources.row, part_sources.row)
    empty = [table.select_images([]) for table in tables]
    assert len(trace(step, empty)[0]) == 0

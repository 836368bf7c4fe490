import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import expand_hierarchy
from fusion.errors import InputError
from fusion.folding import fold_hierarchy
from fusion.parents import ancestors_of
from fusion.pool import pool_tables
from fusion.run import trace
from fusion.steps.expand_hierarchy import ExpandHierarchy
from fusion.table import DetectionTable, Metadata
from fusion.table_columns import MASK_TYPE
from tests.oracles import hierarchy as oracle

# 1 entity-like top, 5 has two parents, 6 is four levels deep, 9 stands alone
PARENTS = {1: [], 2: [1], 3: [1], 4: [2], 5: [2, 3], 6: [4, 5], 9: []}


def table(image, category, score, xywh, member="a", **more):
    return DetectionTable.from_arrays(
        image_id=image, category_id=category, score=score, xywh=np.array(xywh, float).reshape(-1, 4), **more
    ).with_metadata(member=member)


def listed(fused, sources):
    row = sources.row.tolist()
    behind = [row[a:b] for a, b in zip(sources.start[:-1], sources.start[1:], strict=True)]
    columns = (fused.image_id, fused.category_id, fused.score, [rows[0] for rows in behind])
    return list(zip(*(np.asarray(column).tolist() for column in columns), behind, strict=True))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 3), st.integers(0, 1), st.integers(0, 3), st.sampled_from(list(PARENTS)), st.integers(0, 3)
        ),
        max_size=30,
    ),
    st.booleans(),
)
def test_equals_the_plain_definition(rows, keep_all):
    boxes = [[0.0, 0, 5, 5], [-0.0, 0, 5, 5], [1, 0, 5, 5], [0, 0, 5, 6]]
    rows = sorted(rows, key=lambda row: (row[1], row[0]))  # input rows count through the tables, sorted by image
    tables = []
    for member in (0, 1):
        own = [row for row in rows if row[1] == member]
        tables.append(
            table(
                [row[0] for row in own],
                [row[3] for row in own],
                [row[4] / 4 for row in own],
                [boxes[row[2]] for row in own],
                member=f"m{member}",
            )
        )
    plain = [(image, member, max(box, 1), kind, score / 4) for image, member, box, kind, score in rows]
    step = ExpandHierarchy(parents=PARENTS, keep_all=keep_all)
    assert listed(*trace(step, tables)) == oracle.expand(plain, PARENTS, keep_all)
    answer = step.fuse(pool_tables(tables))
    assert answer.sources is None
    assert answer.row.tolist() == [entry[3] for entry in oracle.expand(plain, PARENTS, keep_all)]


def test_any_depth_and_several_parents():
    assert ancestors_of(PARENTS)[6] == (1, 2, 3, 4, 5)
    chain = {number: [number - 1] for number in range(1, 5000)}
    assert ancestors_of(chain)[4999] == tuple(range(4999))
    fused = expand_hierarchy(table([7], [6], [0.5], [[1, 2, 3, 4]]), parents=PARENTS)
    assert fused.category_id.tolist() == [6, 1, 2, 3, 4, 5]
    assert fused.xywh.tolist() == [[1, 2, 3, 4]] * 6


def test_merges_one_box_and_not_two():
    boxes = [[0, 0, 5, 5], [0, 0, 5, 5], [0, 0, 5, 5.001]]
    detections = table([1, 1, 1], [2, 3, 2], [0.3, 0.9, 0.4], boxes)
    fused, sources = trace(ExpandHierarchy(parents=PARENTS), detections)
    animals = np.flatnonzero(fused.category_id == 1)
    assert fused.score[animals].tolist() == [0.9, 0.4]
    assert sources.row[sources.start[animals[0]] : sources.start[animals[0] + 1]].tolist() == [1, 0]
    assert len(expand_hierarchy(detections, parents=PARENTS, keep_all=True)) == 6


def test_masks_views_members_and_metadata_are_carried():
    mask = pa.array([{"height": 4, "width": 4, "counts": b"04"}, None], MASK_TYPE)
    given = table(["b", "a"], [2, 9], [0.5, 0.6], [[0, 0, 1, 1], [1, 1, 1, 1]], mask=mask, view=["x", "y"])
    given = given.with_metadata(dataset="d", categories="c", unit="normalized")
    fused = expand_hierarchy(given, parents=PARENTS)
    assert fused.image_id.tolist() == ["a", "b", "b"]
    assert fused.category_id.tolist() == [9, 2, 1]
    assert fused.arrow["view"].to_pylist() == ["y", "x", "x"]
    assert [None if m is None else m["counts"] for m in fused.mask.to_pylist()] == [None, b"04", b"04"]
    assert fused.metadata == Metadata(dataset="d", categories="c", unit="normalized", member="a")
    assert fused.member.to_pylist() == ["a"] * 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(list(PARENTS)), st.integers(0, 3)), max_size=20))
def test_folds_back(rows):
    given_table = table(
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] / 4 for row in rows],
        [[number, 0, 5, 5] for number in range(len(rows))],
    )
    fused, sources = trace(ExpandHierarchy(parents=PARENTS), given_table)
    folded = fold_hierarchy(fused, parents=PARENTS)
    names = ["image_id", "category_id", "score", "x", "y", "w", "h"]
    assert folded.arrow.select(names) == given_table.arrow.select(names)
    assert np.unique(sources.row).tolist() == list(range(len(rows)))
    # expanding what is expanded adds nothing
    assert expand_hierarchy(fused, parents=PARENTS).arrow.sort_by([("image_id", "ascending")]).num_rows == len(fused)


def test_empty():
    assert len(expand_hierarchy(table([], [], [], []), parents={})) == 0
    assert len(fold_hierarchy(table([], [], [], []), parents={})) == 0


def test_errors():
    one = table([1], [7], [0.5], [[0, 0, 1, 1]])
    with pytest.raises(InputError, match=r"category 7 of the detections is no node of it"):
        expand_hierarchy(one, parents=PARENTS)
    with pytest.raises(InputError, match=r"category 7 of the detections is no node of it"):
        fold_hierarchy(one, parents=PARENTS)
    with pytest.raises(InputError, match=r"go in a circle: 1 -> 2 -> 3 -> 1 \(child -> parent\)"):
        ExpandHierarchy(parents={1: [2], 2: [3], 3: [1], 4: [1]})
    with pytest.raises(InputError, match=r"option parents.3: expected a list of whole numbers, got \['x'\]"):
        ExpandHierarchy(parents={3: ["x"]})
    with pytest.raises(InputError, match=r"circle: 5 -> 5"):
        ExpandHierarchy(parents={5: [5]})


def test_threads_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    n = 70_000
    big = table(
        rng.integers(0, 3000, n), rng.choice(list(PARENTS), n), rng.random(n).round(2), rng.integers(0, 3, (n, 4))
    )
    answers = []
    for threads in "1", "2":
        monkeypatch.setenv("QUORUM_THREADS", threads)
        answers.append(expand_hierarchy(big, parents=PARENTS).arrow)
    assert answers[0] == answers[1]

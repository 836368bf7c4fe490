"""Twins that make rows which no input has, on every backend, against the plain definitions and the CPU."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fusion.errors import InputError
from fusion.recipe import Node, Recipe
from fusion.run import apply, open_session
from fusion.steps.dropout import Dropout
from fusion.steps.expand_hierarchy import ExpandHierarchy
from fusion.steps.nms import Nms
from fusion.steps.soft_nms import SoftNms
from fusion.table import DetectionTable
from tests.fusion.cuda.test_rescoring import carried
from tests.fusion.cuda.test_session import same
from tests.fusion.cuda.test_twins import few
from tests.oracles import hierarchy, partners

# 1 at the top, 5 has two parents, 6 is four levels deep, 9 stands alone
PARENTS = {1: [], 2: [1], 3: [1], 4: [2], 5: [2, 3], 6: [4, 5], 9: []}
BOXES = np.array([[0.0, 0, 5, 5], [-0.0, 0, 5, 5], [1, 0, 5, 5], [0, 0, 5, 6], [0, 0, 6, 5]])
ENTRY = st.tuples(
    st.integers(1, 2), st.integers(0, 1), st.integers(0, 4), st.sampled_from(list(PARENTS)), st.integers(0, 3)
)


def split(rows):
    """A table per member of rows (image, member, box, category, score)."""
    tables = []
    for number in 0, 1:
        own = [row for row in rows if row[1] == number]
        image, _, box, category, score = zip(*own, strict=True) if own else [()] * 5
        tables.append(
            DetectionTable.from_arrays(
                image_id=image, category_id=category, score=np.array(score) / 4, xywh=BOXES[list(box)]
            ).with_metadata(member=f"m{number}")
        )
    return tables


@few
@example(rows=[(1, 0, 0, 4, 2), (1, 0, 3, 9, 1), (1, 0, 1, 2, 2), (1, 0, 0, 1, 2), (1, 1, 0, 2, 2)], keep_all=False)
@given(rows=st.lists(ENTRY, min_size=1, max_size=24), keep_all=st.booleans())
def test_expand_hierarchy(backend, rows, keep_all):
    rows = sorted(rows, key=lambda row: (row[1], row[0]))
    step = ExpandHierarchy(parents=PARENTS, keep_all=keep_all)
    fused = apply(step, split(rows), device=backend)
    plain = [(image, member, max(box, 1), kind, score / 4) for image, member, box, kind, score in rows]
    expected = [entry[:3] for entry in hierarchy.expand(plain, PARENTS, keep_all)]
    assert list(zip(fused.image_id, fused.category_id, fused.score, strict=True)) == expected
    same(fused, apply(step, split(rows)))


def test_an_expansion_in_a_recipe(backend):
    """Its categories are known beforehand, and its rows stay on the GPU."""
    parents = {0: [3], 7: [3, 20], 14: [7], 3: [], 20: [-1], -1: []}
    recipe = Recipe(
        {
            "wide": Node(ExpandHierarchy(parents=parents), ("a", "b")),
            "narrow": Node(Nms(), ("wide",)),
            "output": Node(SoftNms(method="linear"), ("narrow",)),
        }
    )
    same(recipe.fuse(carried(7), device=backend), recipe.fuse(carried(7)))
    step = ExpandHierarchy(parents=parents, keep_all=True)
    same(apply(step, carried(7)[1:], device=backend), apply(step, carried(7)[1:]))
    if backend == "cuda":
        session = open_session("cuda", carried(7), [step])
        assert not isinstance(session.apply(step, carried(7)), DetectionTable)


def test_a_category_that_is_no_node_is_named(backend):
    with pytest.raises(InputError, match="category 14 of the detections is no node of it"):
        apply(ExpandHierarchy(parents={0: [7]}), carried(1), device=backend)


BOX = st.tuples(
    st.integers(1, 2), st.integers(1, 2), st.sampled_from([0.0, 0.3, 0.9]), st.integers(0, 2), st.integers(0, 2),
    st.sampled_from([0, 4, 6]), st.sampled_from([4, 6]),
)  # fmt: skip


def table_of(rows, name):
    image, category, score, *box = zip(*rows, strict=True)
    return DetectionTable.from_arrays(
        image_id=image, category_id=category, score=score, xywh=np.array(box, float).T
    ).with_metadata(member=name)


@few
@given(
    left=st.lists(BOX, min_size=1, max_size=10),
    right=st.lists(BOX, min_size=1, max_size=10),
    part=st.sampled_from(["scores", "boxes"]),
    threshold=st.sampled_from([0.0, 0.5]),
)
def test_dropout(backend, left, right, part, threshold):
    left, right = (sorted(rows, key=lambda row: row[0]) for rows in (left, right))
    rows = [*left, *right]
    corners = [(*row[:5], row[3] + row[5], row[4] + row[6], k) for k, row in enumerate(rows)]
    expected = []
    for own, other in partners.pairs(corners[: len(left)], corners[len(left) :], threshold):
        box, score = (other, own) if part == "scores" else (own, other)
        expected.append((box, *rows[box][:2], rows[score][2], *map(float, rows[box][3:])))
    expected = [row[1:] for row in sorted(expected)]
    step, tables = Dropout(part=part, iou=threshold), [table_of(left, "l"), table_of(right, "r")]
    fused = apply(step, tables, device=backend)
    columns = [fused.column(name).tolist() for name in ("image_id", "category_id", "score", "x", "y", "w", "h")]
    assert list(zip(*columns, strict=True)) == expected
    same(fused, apply(step, tables))


@pytest.mark.parametrize(("part", "names"), [("scores", False), ("boxes", True)])
def test_dropout_of_fusions_of_the_same_members(backend, part, names):
    recipe = Recipe(
        {
            "left": Node(Nms(iou=0.3), ("a", "b")),
            "right": Node(SoftNms(method="linear"), ("a", "b")),
            "output": Node(Dropout(part=part, iou=0.1), ("right", "left")),
        }
    )
    more = {"ids": lambda image: np.array(list("qpr"))[image]} if names else {}
    same(recipe.fuse(carried(5, **more), device=backend), recipe.fuse(carried(5, **more)))
    step = Dropout(part=part, iou=0.1)
    same(apply(step, carried(5, **more), device=backend), apply(step, carried(5, **more)))


@pytest.mark.parametrize("count", [1, 3])
def test_dropout_takes_two_inputs(backend, count):
    tables = [table_of([(1, 1, 0.5, 0, 0, 4, 4)], name) for name in "abc"[:count]]
    with pytest.raises(InputError, match=f"expected two inputs, left and right, got {count}"):
        apply(Dropout(), tables, device=backend)


@pytest.mark.parametrize("empty", [0, 1])
def test_dropout_of_nothing(backend, empty):
    tables = carried(5)
    tables[empty] = tables[empty].select_images([-1])
    fused = apply(Dropout(), tables, device=backend)
    assert len(fused) == 0
    assert fused.arrow.schema.equals(apply(Dropout(), tables).arrow.schema)

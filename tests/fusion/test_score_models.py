"""Descriptions against their oracle, predictions against plain Python, and what is written and refused."""

import math
import tomllib

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.errors import InputError
from fusion.kernels import jit
from fusion.kernels.context import COMMON, PER_MEMBER
from fusion.pool import pool_tables
from fusion.run import apply
from fusion.score_models import NO_TREES, Linear, ScoreModel, Trees, describe, feature_names, read_score_model
from fusion.steps.rescore import Rescore
from fusion.table import DetectionTable, Metadata
from fusion.toml_values import toml_value
from tests.oracles import context as oracle

MEMBERS = ("a", "b", "c")
PRIOR = {1: 0.25, 2: 0.5}


def random_table(rng, name, size, *, images=3, categories=3, side=30):
    low, extent = rng.integers(0, side, (size, 2)), rng.integers(0, 12, (size, 2))
    return DetectionTable.from_arrays(
        image_id=rng.integers(0, images, size),
        category_id=rng.integers(1, 1 + categories, size),
        score=rng.choice([0.1, 0.3, 0.5, 0.9, rng.random()], size) if size else np.zeros(0),
        xywh=np.hstack([low, extent]).astype(float).reshape(-1, 4),
        metadata=Metadata(member=name),
    )


def rows_of(table, member=None):
    return [
        {
            "image": int(image),
            "category": int(category),
            "score": float(score),
            "corners": (x, y, x + w, y + h),
            "member": member,
        }
        for image, category, score, (x, y, w, h) in zip(
            table.image_id, table.category_id, table.score, table.xywh.tolist(), strict=True
        )
    ]


def random_trees(rng, features, count, depth=4):
    """Trees of random shape in the order of their nodes, parents first."""
    nodes, roots = [], []
    for _ in range(count):
        roots.append(len(nodes))
        grow = [(len(nodes), 0)]
        nodes.append(None)
        while grow:
            own, level = grow.pop()
            if level == depth or rng.random() < 0.2:
                nodes[own] = (0.0, rng.normal() / 20, 0, own, own, False)
                continue
            left = len(nodes)
            nodes += [None, None]
            nodes[own] = (rng.normal(), 0.0, int(rng.integers(features)), left, left + 1, bool(rng.random() < 0.5))
            grow += [(left, level + 1), (left + 1, level + 1)]
    columns = [np.array(column) for column in zip(*nodes, strict=True)]
    kinds = [array.dtype for array in NO_TREES]
    return Trees._make(c.astype(kind) for c, kind in zip([*columns, np.array(roots)], kinds, strict=True))


def model_of(seed, *, trees=0, members=MEMBERS):
    rng = np.random.default_rng(seed)
    count = PER_MEMBER * len(members) + COMMON
    if trees:
        none = np.zeros(count)
        return ScoreModel(
            members=members, linear=Linear(none, none, 0.4), trees=random_trees(rng, count, trees), prior=PRIOR
        )
    return ScoreModel(members=members, linear=Linear(rng.normal(size=count), rng.normal(size=count), -0.3), prior=PRIOR)


def with_own_trees(model, seed=11):
    """The model with trees of two categories' own, of which one does not occur."""
    count = len(model.linear.weight)
    return model.with_own(
        {9: random_trees(np.random.default_rng(1), count, 4), 2: random_trees(np.random.default_rng(seed), count, 3)}
    )


def plain_score(model, row, category=None):
    """The score of one description, by the definition."""
    trees, total = model.trees, model.linear.constant
    common = len(trees.roots) - sum(model.own.values())
    roots, first = trees.roots[:common].tolist(), common
    for key in sorted(model.own):
        if key == category:
            roots += trees.roots[first : first + model.own[key]].tolist()
        first += model.own[key]
    if not len(trees.roots):
        for value, weight, known in zip(row, *model.linear[:2], strict=True):
            total += 0.0 if math.isnan(value) else weight * value + known
        return 1 / (1 + math.exp(-min(max(total, -690), 36)))
    for root in roots:
        node = root
        while trees.left[node] != node:
            value = row[trees.feature[node]]
            left = trees.missing[node] if math.isnan(value) else value <= trees.threshold[node]
            node = trees.left[node] if left else trees.right[node]
        total += trees.value[node]
    return total


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 8, 40]), st.sampled_from([0, 1, 60]))
def test_descriptions_are_those_of_the_oracle(seed, size, voters):
    rng = np.random.default_rng(seed)
    boxes = random_table(rng, "fused", size)
    tables = [random_table(rng, name, voters) for name in MEMBERS]
    rows, features = describe(pool_tables([boxes, *tables]), MEMBERS, PRIOR, lambda part, _: part.copy())
    assert features.shape == (size, len(feature_names(MEMBERS)))
    fused = rows_of(boxes)
    others = [row for table, name in zip(tables, MEMBERS, strict=True) for row in rows_of(table, name)]
    for row, found in zip(rows.tolist(), features, strict=True):
        wanted = oracle.describe(fused[row], fused, others, MEMBERS, PRIOR)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_more_boxes_of_other_categories_than_are_looked_at():
    rng = np.random.default_rng(0)
    boxes = random_table(rng, "fused", 400, images=1, categories=5)
    rows, features = describe(pool_tables([boxes, random_table(rng, "a", 9)]), ("a",), {}, lambda part, _: part.copy())
    fused = rows_of(boxes)
    for row, found in zip(rows.tolist(), features, strict=True):
        wanted = oracle.describe(fused[row], fused, [], (), {})
        np.testing.assert_allclose(found[PER_MEMBER + 15 : -1], wanted[15:-1], rtol=1e-12)


@pytest.mark.parametrize(("trees", "own"), [(0, False), (30, False), (30, True)])
def test_scores_are_those_of_plain_python(trees, own, monkeypatch):
    rng = np.random.default_rng(3)
    boxes = random_table(rng, "fused", 200, images=20)
    tables = [random_table(rng, name, 300, images=20) for name in MEMBERS]
    model = with_own_trees(model_of(4, trees=trees)) if own else model_of(4, trees=trees)
    rows, score = model.score(pool_tables([boxes, *tables]))
    assert rows.tolist() == list(range(200))
    assert np.all((score > 0) & (score < 1))
    places, features = describe(pool_tables([boxes, *tables]), MEMBERS, PRIOR, lambda part, _: part.copy())
    described = zip(features[np.argsort(places)].tolist(), boxes.category_id.tolist(), strict=True)
    wanted = np.array([plain_score(model, row, category) for row, category in described])
    middle = (wanted > 0.02) & (wanted < 0.98)
    np.testing.assert_allclose(score[middle], wanted[middle], rtol=1e-12)
    order = np.argsort(wanted, kind="stable")
    assert np.all(np.diff(score[order]) >= 0), "beyond 0 and 1 their order stays"
    monkeypatch.setattr("fusion.score_models.chunks", lambda start, *_: jit.chunks(start, 5))
    assert model.score(pool_tables([boxes, *tables]))[1].tobytes() == score.tobytes()


def test_members_may_come_in_any_order_and_in_one_table():
    rng = np.random.default_rng(5)
    boxes, tables = random_table(rng, "fused", 50), [random_table(rng, name, 60) for name in MEMBERS]
    step = Rescore(model=model_of(6))
    straight = apply(step, [boxes, *tables])
    assert apply(step, [boxes, *tables[::-1]]).score.tobytes() == straight.score.tobytes()
    from fusion.steps.concat import Concat

    assert apply(step, [boxes, apply(Concat(), tables)]).score.tobytes() == straight.score.tobytes()
    assert straight.xywh.tobytes() == boxes.xywh.tobytes()


@pytest.mark.parametrize(("trees", "own"), [(0, False), (30, False), (30, True)])
def test_a_model_is_written_and_read_to_the_last_bit(trees, own):
    model = with_own_trees(model_of(7, trees=trees)) if own else model_of(7, trees=trees)
    text = tomli_w.dumps(toml_value(model), multiline_strings=True)
    again = read_score_model(tomllib.loads(text), "model")
    assert again == model
    assert again.own == ({2: 3, 9: 4} if own else {})
    assert hash(again) == hash(model)
    for ours, theirs in zip((*model.trees, *model.linear), (*again.trees, *again.linear), strict=True):
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


def damaged(**changes):
    return {**toml_value(model_of(8, trees=3)), **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": "AAAA"}, "cannot be unpacked"),
        ({"sha256": "0" * 64}, "not what was written"),
        ({"nodes": 1}, "do not fit its data"),
        ({"members": ["a", "b"]}, "not those of a model"),
        ({"prior": {"x": 1.0}}, "category ids as keys"),
        ({"own": {"5": 3}}, "not those of a model"),
        ({"own": {"5": 0}}, "not those of a model"),
        ({"extra": 1}, "'extra' is unknown"),
    ],
)
def test_a_damaged_model_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        read_score_model(damaged(**changes), "recipe, node 'output', model")


def test_a_tree_that_never_ends_is_refused():
    model = model_of(8, trees=1)
    inner = int(np.flatnonzero(model.trees.left != np.arange(len(model.trees.left)))[-1])
    left = model.trees.left.copy()
    left[inner] = 0
    with pytest.raises(InputError, match="not those of a model"):
        read_score_model(
            toml_value(ScoreModel(members=model.members, linear=model.linear, trees=model.trees._replace(left=left))),
            "model",
        )


def test_members_that_are_missing_or_strange_are_named():
    rng = np.random.default_rng(9)
    boxes, tables = random_table(rng, "fused", 5), [random_table(rng, name, 6) for name in (*MEMBERS, "d")]
    step = Rescore(model=model_of(10))
    with pytest.raises(InputError, match="learned with member 'c', which is not given"):
        apply(step, [boxes, *tables[:2]])
    with pytest.raises(InputError, match="learned without member 'd'"):
        apply(step, [boxes, *tables])
    with pytest.raises(InputError, match="got one table"):
        apply(step, boxes)

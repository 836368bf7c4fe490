"""Trees and their codes: bijections, exhaustively for few leaves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.tree import (
    all_trees,
    attach_code,
    clades,
    depths,
    from_attach,
    from_line,
    key,
    leaves,
    line_code,
    node,
    random_tree,
    regraft,
    swap,
    without,
)

COUNTS = {1: 1, 2: 1, 3: 3, 4: 15, 5: 105, 6: 945}


def by_hand(count):
    """All canonical trees, by hanging each next leaf onto every place of every smaller tree."""
    trees = {0}
    for leaf in range(1, count):
        trees = {hung for tree in trees for hung in every_place(tree, leaf)}
    return trees


def every_place(tree, leaf):
    yield node(tree, leaf)
    if not isinstance(tree, int):
        first, second = tree
        yield from (node(hung, second) for hung in every_place(first, leaf))
        yield from (node(first, hung) for hung in every_place(second, leaf))


@pytest.mark.parametrize("count", COUNTS)
def test_all_trees(count):
    trees = list(all_trees(count))
    assert len(trees) == COUNTS[count]
    assert set(trees) == by_hand(count)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_codes_give_the_tree_back(count):
    for tree in all_trees(count):
        assert from_attach(attach_code(tree)) == tree
        assert from_line(line_code(tree)) == tree
        assert all(0 <= x <= 1 for x in line_code(tree))


@pytest.mark.parametrize("count", [2, 5, 6])
def test_keys_are_the_leaves_but_the_first(count):
    for tree in all_trees(count):
        assert sorted(key(pair) for pair in clades(tree)) == list(range(1, count))


def test_the_node_hung_with_leaf_j_has_key_j():
    rng = np.random.default_rng(0)
    for _ in range(50):
        tree = random_tree(12, rng)
        for j in range(11, 1, -1):
            above = next(pair for pair in clades(tree) if j in pair)
            assert key(above) == j
            tree = without(tree, (j,))


def test_random_trees_are_drawn_with_equal_chances():
    rng = np.random.default_rng(1)
    drawn = [random_tree(4, rng) for _ in range(6000)]
    counts = [drawn.count(tree) for tree in all_trees(4)]
    assert min(counts) > 320  # 400 expected, the standard deviation is 19
    assert max(counts) < 480


@given(st.integers(0, 2**32), st.integers(2, 28))
def test_random_trees_of_any_size(seed, count):
    rng = np.random.default_rng(seed)
    tree = random_tree(count, rng)
    assert sorted(leaves(tree)) == list(range(count))
    assert from_attach(attach_code(tree)) == tree
    assert from_line(line_code(tree)) == tree
    assert len(list(clades(tree))) == count - 1
    assert sorted(depths(tree)) == list(range(count))


@given(st.integers(0, 2**32), st.integers(2, 9))
def test_edits_keep_the_leaves(seed, count):
    rng = np.random.default_rng(seed)
    tree = random_tree(count, rng)
    a, b = rng.integers(count, size=2).tolist()
    swapped = swap(tree, a, b)
    assert sorted(leaves(swapped)) == list(range(count))
    assert swap(swapped, a, b) == tree
    places = [*range(count), *clades(tree)]
    part, place = places[rng.integers(len(places))], places[rng.integers(len(places))]
    moved = regraft(tree, part, place)
    assert sorted(leaves(moved)) == list(range(count))
    assert from_attach(attach_code(moved)) == moved


def test_regraft():
    assert regraft(((0, 1), (2, 3)), 3, 0) == (((0, 3), 1), 2)
    assert regraft(((0, 1), (2, 3)), (2, 3), 1) == (0, (1, (2, 3)))
    assert regraft(((0, 1), 2), 0, ((0, 1), 2)) == (0, (1, 2))  # a place that holds the part
    assert regraft(((0, 1), 2), (0, 1), (0, 1)) == ((0, 1), 2)


def test_without():
    assert without(((0, 1), (2, 3)), (1, 2)) == (0, 3)
    assert without((0, 1), (0, 1)) is None


def test_wrong_codes():
    with pytest.raises(ValueError, match="cannot be hung"):
        from_attach([3])
    with pytest.raises(ValueError, match="expected leaves"):
        attach_code((0, 2))

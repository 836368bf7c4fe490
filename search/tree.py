"""Binary trees over members, and the two codes that a search can propose them in.

A tree is a leaf's number or a pair of trees; leaves count from 0, the best member first. A pair is canonical: its
first tree holds the smaller of the two smallest leaves, so that equal trees are equal tuples and "first" and "second"
keep their meaning. The search over such trees is that of mmfruit-openimages2019, sec. 4.2; `attach` is the idea of
Phylo2Vec (doi 10.1093/sysbio/syae030).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

__all__ = [
    "Tree",
    "all_trees",
    "attach_code",
    "clades",
    "depths",
    "from_attach",
    "from_line",
    "key",
    "leaves",
    "line_code",
    "node",
    "random_tree",
    "regraft",
    "swap",
    "without",
]

Tree: TypeAlias = "int | tuple[Tree, Tree]"


def node(a: Tree, b: Tree) -> Tree:
    """Return the canonical pair of two trees."""
    return (a, b) if _smallest(a) < _smallest(b) else (b, a)


def leaves(tree: Tree) -> tuple[int, ...]:
    """Return the leaves from left to right."""
    return (tree,) if isinstance(tree, int) else leaves(tree[0]) + leaves(tree[1])


def key(tree: tuple[Tree, Tree]) -> int:
    """Return the leaf that an inner node absorbs: the larger of its children's smallest leaves.

    The inner nodes of a tree and its leaves but the smallest are in bijection by it, and a node keeps
    its key when the tree around it changes: operators are kept under it.
    """
    return max(_smallest(tree[0]), _smallest(tree[1]))


def clades(tree: Tree) -> Iterator[tuple[Tree, Tree]]:
    """Iterate over the inner nodes, children before parents."""
    if not isinstance(tree, int):
        yield from clades(tree[0])
        yield from clades(tree[1])
        yield tree


def depths(tree: Tree, depth: int = 0) -> dict[int, int]:
    """Return the number of nodes above each leaf."""
    if isinstance(tree, int):
        return {tree: depth}
    return depths(tree[0], depth + 1) | depths(tree[1], depth + 1)


def without(tree: Tree, dropped: Sequence[int]) -> Tree | None:
    """Return the tree without some leaves; None where none is left."""
    if isinstance(tree, int):
        return None if tree in dropped else tree
    first, second = without(tree[0], dropped), without(tree[1], dropped)
    if first is None or second is None:
        return second if first is None else first
    return node(first, second)


def from_attach(code: Sequence[int]) -> Tree:
    """Decode `attach`: leaf j = 2, 3 ... is hung onto the place code[j - 2] of the tree of the leaves before it.

    Args:
        code: One whole number in [0, 2j - 2] for each leaf j from 2; places are leaf 0, leaf 1, the node
            made with leaf 1, leaf 2, and so on.
    """
    parent: dict[int, int] = {}  # by place; place 2j - 1 is leaf j, 2j the node made with it
    for j, place in enumerate((0, *code), 1):
        if not 0 <= place <= 2 * j - 2:
            raise ValueError(f"leaf {j} cannot be hung onto place {place}: there are {2 * j - 1}")
        above = parent.get(place)
        parent[place] = parent[2 * j - 1] = 2 * j
        if above is not None:
            parent[2 * j] = above
    # a node's place may be below or above its parent's, so children are gathered from the root
    below: dict[int, list[int]] = {}
    for place, above in parent.items():
        below.setdefault(above, []).append(place)

    def build(place: int) -> Tree:
        if place in below:
            a, b = below[place]
            return node(build(a), build(b))
        return (place + 1) // 2

    root = next((place for place in below if place not in parent), 0)
    return build(root)


def attach_code(tree: Tree) -> tuple[int, ...]:
    """Encode a tree over leaves 0 ... n - 1; the reverse of `from_attach`."""
    code: list[int] = []
    for j in range(len(leaves(tree)) - 1, 0, -1):
        sibling = _sibling(tree, j)
        if sibling is None:
            raise ValueError(f"expected leaves 0 to {len(leaves(tree)) - 1}, got {sorted(leaves(tree))}")
        code.append(_place(sibling))
        rest = without(tree, (j,))
        if rest is not None:
            tree = rest
    return tuple(code[-2::-1])


def from_line(positions: Sequence[float]) -> Tree:
    """Decode `line`: leaves are points on a line, the closest neighbours are joined first; of equals the first."""
    order = np.argsort(positions, kind="stable")
    clusters: list[Tree] = [int(leaf) for leaf in order]
    gaps = np.diff(np.asarray(positions, dtype=np.float64)[order]).tolist()
    while gaps:
        i = gaps.index(min(gaps))
        clusters[i : i + 2] = [node(clusters[i], clusters[i + 1])]
        del gaps[i]
    return clusters[0]


def line_code(tree: Tree) -> tuple[float, ...]:
    """Encode a tree over leaves 0 ... n - 1 as positions in [0, 1]; `from_line` gives it back."""
    order = leaves(tree)
    number = {pair: i for i, pair in enumerate(clades(tree), 1)}
    gaps = [number[_common(tree, a, b)] for a, b in itertools.pairwise(order)]
    total = sum(gaps) or 1
    positions = [0.0] * len(order)
    for leaf, passed in zip(order[1:], itertools.accumulate(gaps), strict=True):
        positions[leaf] = passed / total
    return tuple(positions)


def all_trees(count: int) -> Iterator[Tree]:
    """Iterate over all (2 count - 3)!! trees of so many leaves."""
    for code in itertools.product(*(range(2 * j - 1) for j in range(2, count))):
        yield from_attach(code) if count > 1 else 0


def random_tree(count: int, rng: np.random.Generator) -> Tree:
    """Draw one of all trees with equal chances."""
    return from_attach([int(rng.integers(2 * j - 1)) for j in range(2, count)]) if count > 1 else 0


def swap(tree: Tree, a: int, b: int) -> Tree:
    """Let two leaves change places."""
    if isinstance(tree, int):
        return b if tree == a else a if tree == b else tree
    return node(swap(tree[0], a, b), swap(tree[1], a, b))


def regraft(tree: Tree, part: Tree, place: Tree) -> Tree:
    """Cut a part off and hang it beside what is left of another part; nothing changes where nothing is left of that."""
    rest = without(tree, leaves(part))
    beside = without(place, leaves(part))
    return tree if rest is None or beside is None else _hung(rest, part, beside)


def _hung(tree: Tree, part: Tree, place: Tree) -> Tree:
    if tree == place or isinstance(tree, int):
        return node(tree, part)
    first, second = tree
    if set(leaves(place)) <= set(leaves(first)):
        return node(_hung(first, part, place), second)
    return node(first, _hung(second, part, place))


def _smallest(tree: Tree) -> int:
    while not isinstance(tree, int):
        tree = tree[0]
    return tree


def _place(tree: Tree) -> int:
    if isinstance(tree, int):
        return max(2 * tree - 1, 0)
    return 2 * key(tree)


def _sibling(tree: Tree, leaf: int) -> Tree | None:
    if isinstance(tree, int):
        return None
    for own, other in (tree, tree[::-1]):
        if own == leaf:
            return other
        found = _sibling(own, leaf)
        if found is not None:
            return found
    return None


def _common(tree: Tree, a: int, b: int) -> tuple[Tree, Tree]:
    """Return the lowest inner node above both leaves."""
    while not isinstance(tree, int):
        inside = next((child for child in tree if {a, b} <= set(leaves(child))), None)
        if inside is None:
            return tree
        tree = inside
    raise ValueError(f"leaves {a} and {b} are not both in the tree")

"""Models that score a fused box by what is known of it: of every member, of its neighbours, of its category."""

import base64
import hashlib
import textwrap
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fusion.checks import listing
from fusion.errors import InputError
from fusion.kernels.context import COMMON, PER_MEMBER, describe_images, score_by_sum, score_by_trees
from fusion.kernels.jit import chunks, joined, run
from fusion.pool import Pool
from fusion.toml_values import build, by_category

__all__ = ["NO_TREES", "Linear", "ScoreModel", "Trees", "describe", "feature_names", "read_score_model"]

_RIVALS = 100  # fused boxes of other categories that one is compared with, the best of its image
_TOGETHER = 32  # boxes that go through a tree together
_RANGE = 8192  # boxes described at a time, so that their features stay in the cache


class Trees(NamedTuple):
    """Regression trees, one node after the other; n nodes, t trees.

    Attributes:
        threshold: float64 [n], up to which a feature goes left.
        value: float64 [n], what a leaf adds.
        feature: int32 [n].
        left: int32 [n], the child; a leaf's is the node itself.
        right: int32 [n].
        missing: bool [n], whether NaN goes left.
        roots: int32 [t].
    """

    threshold: np.ndarray
    value: np.ndarray
    feature: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing: np.ndarray
    roots: np.ndarray


class Linear(NamedTuple):
    """A sum over features; f features.

    Attributes:
        weight: float64 [f], of each feature; nothing is added where it is NaN.
        known: float64 [f], added where it is not.
        constant: Added always.
    """

    weight: np.ndarray
    known: np.ndarray
    constant: float


NO_TREES = Trees(
    *(np.zeros(0, kind) for kind in (np.float64, np.float64, np.int32, np.int32, np.int32, np.bool_, np.int32))
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreModel:
    """What was learned of the members of a fusion: the score of a fused box from its description.

    Two models are equal if they are written alike.

    Attributes:
        members: Names of the members; a fusion needs all of them and no others.
        linear: For "logistic" regression, whose score is the sigmoid of its sum; with trees, their constant alone.
        trees: For "boosting"; none for "logistic". Those for all boxes first, then those of single categories.
        prior: Category id -> what a box of it is worth on average.
        own: Category id -> how many of the trees are for its boxes alone; these trees come in the order of the ids.
    """

    members: tuple[str, ...]
    linear: Linear
    trees: Trees = NO_TREES
    prior: Mapping[int, float] = field(default_factory=dict)
    own: Mapping[int, int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What it is: "logistic" or "boosting"."""
        return "boosting" if len(self.trees.roots) else "logistic"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScoreModel) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self.to_dict()["sha256"])

    def score(self, pool: Pool) -> tuple[np.ndarray, np.ndarray]:
        """Score the rows of the first table of a pool.

        Returns:
            int64 [n] all rows of that table, in order, and float64 [n] their scores, inside (0, 1).

        Raises:
            InputError: If the members behind the other tables are not those that the model was learned with.
        """
        category = pool.tables[0].category_id
        rows, score = describe(
            pool, self.members, self.prior, lambda features, rows: self.score_features(features, category[rows])
        )
        order = np.argsort(rows)
        return rows[order], score[order]

    def score_features(self, features: np.ndarray, category: np.ndarray | None = None) -> np.ndarray:
        """Score descriptions.

        Args:
            features: float64 [n, f].
            category: [n], ids; none where no category has trees of its own.

        Returns:
            float64 [n], inside (0, 1).
        """
        out = np.empty(len(features))
        if not len(self.trees.roots):
            score_by_sum(features, *self.linear, out)
            return out
        scratch = np.empty(_TOGETHER, np.uint32), np.empty(_TOGETHER)
        common, alone = self._walks
        if not alone or category is None:
            score_by_trees(features, common, self.linear.constant, *scratch, out)
            return out
        several = np.isin(category, list(alone), invert=True)
        parts = [(several, common), *((category == key, walk) for key, walk in alone.items())]
        for rows, walk in ((np.flatnonzero(chosen), walk) for chosen, walk in parts):
            some = np.empty(len(rows))
            score_by_trees(features[rows], walk, self.linear.constant, *scratch, some)
            out[rows] = some
        return out

    @cached_property
    def _walks(self) -> tuple[tuple[np.ndarray, ...], dict[int, tuple[np.ndarray, ...]]]:
        """The trees as the kernel takes them: those for all boxes, and by category the ones for its boxes."""
        trees = self.trees
        children = np.stack((trees.right, trees.left), axis=1).ravel().astype(np.uint32)
        depth = np.zeros(len(trees.value), np.int64)
        for node in range(len(depth) - 1, -1, -1):  # children stand behind their parents
            if trees.left[node] != node:
                depth[node] = 1 + max(depth[trees.left[node]], depth[trees.right[node]])
        whole = trees.threshold, trees.value, trees.feature.astype(np.uint32), children, trees.missing

        def walk(roots: np.ndarray) -> tuple[np.ndarray, ...]:
            return *whole, roots.astype(np.uint32), depth[roots]

        end = len(trees.roots) - sum(self.own.values())
        common, alone = trees.roots[:end], {}
        for key, count in sorted(self.own.items()):
            alone[key] = walk(np.concatenate((common, trees.roots[end : end + count])))
            end += count
        return walk(common), alone

    def with_own(self, own: Mapping[int, Trees]) -> "ScoreModel":
        """Return a model of trees for all boxes with more of them for those of single categories, by id."""
        trees = self.trees
        for _, more in sorted(own.items()):
            before = len(trees.value)
            moved = more._replace(left=more.left + before, right=more.right + before, roots=more.roots + before)
            trees = Trees._make(np.concatenate(pair).astype(pair[0].dtype) for pair in zip(trees, moved, strict=True))
        return replace(self, trees=trees, own={key: len(more.roots) for key, more in sorted(own.items())})

    def first(self, rounds: int) -> "ScoreModel":
        """Return the model with the first trees alone."""
        return replace(self, trees=self.trees._replace(roots=self.trees.roots[:rounds]))

    def to_dict(self) -> dict[str, Any]:
        """Return what TOML stores: names in words, numbers as compressed bytes with their hash."""
        arrays = [*self.trees, self.linear.weight, self.linear.known, np.array([self.linear.constant])]
        data = b"".join(np.ascontiguousarray(array).astype(_little(array.dtype)).tobytes() for array in arrays)
        packed = base64.b64encode(zlib.compress(data, 9)).decode()
        return {
            "kind": self.kind,
            "members": list(self.members),
            "features": len(self.linear.weight),
            "nodes": len(self.trees.value),
            "trees": len(self.trees.roots),
            "sha256": hashlib.sha256(data).hexdigest(),
            "data": "\n".join(textwrap.wrap(packed, 100)),
            "prior": {str(key): float(value) for key, value in self.prior.items()},
            **({"own": {str(key): count for key, count in self.own.items()}} if self.own else {}),
        }


def _little(kind: "np.dtype[Any]") -> "np.dtype[Any]":
    return kind.newbyteorder("<")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A model as TOML has it; see `ScoreModel.to_dict`."""

    kind: str
    members: list[str]
    features: int
    nodes: int
    trees: int
    sha256: str
    data: str
    prior: Mapping[int, float]
    own: Mapping[int, int] = field(default_factory=dict)

    def model(self, where: str) -> ScoreModel:
        """Unpack the numbers; they must be those that the hash was made of."""
        remedy = "Copy it again whole, or learn it again with `quorum learn scores`"
        try:
            data = zlib.decompress(base64.b64decode(self.data.encode(), validate=False))
        except (ValueError, zlib.error) as error:
            raise InputError(where, f"its data cannot be unpacked ({error})", remedy) from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise InputError(where, "its data is not what was written (sha256 differs)", remedy)
        kinds = [array.dtype for array in NO_TREES]
        sizes = [self.nodes] * 6 + [self.trees]
        parts = [
            *zip(kinds, sizes, strict=True),
            *[(np.dtype(np.float64), size) for size in (self.features,) * 2 + (1,)],
        ]
        if sum(kind.itemsize * size for kind, size in parts) != len(data):
            raise InputError(where, "its numbers of features, nodes and trees do not fit its data", remedy)
        arrays, first = [], 0
        for kind, size in parts:
            arrays.append(np.frombuffer(data, _little(kind), size, first).astype(kind))
            first += kind.itemsize * size
        *trees, weight, known, constant = arrays
        model = ScoreModel(
            members=tuple(self.members),
            linear=Linear(weight, known, float(constant[0])),
            trees=Trees(*trees),
            prior=self.prior,
            own=self.own,
        )
        if self.features != len(feature_names(model.members)) or not _sound(model):
            raise InputError(where, "its trees or features are not those of a model", remedy)
        return model


def _sound(model: ScoreModel) -> bool:
    """Whether every path through the trees ends: children stand behind their parents."""
    trees, nodes = model.trees, len(model.trees.value)
    itself = np.arange(nodes)
    leaf = trees.left == itself
    behind = (trees.left > itself) & (trees.right > itself) & (trees.left < nodes) & (trees.right < nodes)
    features = (trees.feature >= 0) & (trees.feature < len(model.linear.weight))
    roots = (trees.roots >= 0) & (trees.roots < nodes)
    finite = all(np.all(np.isfinite(array)) for array in (trees.value, *model.linear))
    own = all(count > 0 for count in model.own.values()) and sum(model.own.values()) < max(len(trees.roots), 1)
    return bool(np.all(leaf | (behind & features)) and np.all(roots) and finite and own)


def read_score_model(entry: Any, where: str) -> Any:
    """Make a model of what TOML holds; what is no table is returned as it is.

    Raises:
        InputError: If that cannot be.
    """
    if not isinstance(entry, Mapping):
        return entry
    tables = {name: by_category(entry.get(name, {}), f"{where}.{name}") for name in ("prior", "own")}
    values = {**entry, **tables}
    written: _Written = build(_Written, values, where)
    return written.model(where)


def feature_names(members: Sequence[str]) -> tuple[str, ...]:
    """Return what the features of a description are, in order."""
    own = ("iou", "score", "left", "top", "right", "bottom")
    common = (
        "members above .5",
        "members above .75",
        "sum of scores",
        "largest score",
        *(f"spread of {side}" for side in own[2:]),
        "log width",
        "log height",
        "log aspect ratio",
        "iou with a better box",
        "its score",
        "iou with a worse box",
        "its score",
        "iou with another category",
        "its score",
        "own score",
        "category",
    )
    return tuple(f"{name}: {what}" for name in members for what in own) + common


def describe(
    pool: Pool,
    members: Sequence[str],
    prior: Mapping[int, float],
    use: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Describe the rows of the first table of a pool by the rows of the others.

    Of each member, the box of the same image and category that overlaps most, by more than `kernels.context.NEAR`: IoU,
    score, distances of its sides as shares of the fused box; NaN where it has none. Of all: how many, their scores, how
    far they spread; the size and shape of the box; the fused box of the same category that overlaps most among those
    ranked above it, and among those below; the one of any other category, among the best of the image; its own score;
    and what its category is worth on average.

    Args:
        pool: Fused boxes, then the tables of the members.
        members: Members by name, in the order of their features.
        prior: Category id -> what a box of it is worth.
        use: Makes an array [n] or [n, ...] of features float64 [n, f] and rows int64 [n], some at a time.

    Returns:
        int64 [n], rows of the first table, and what `use` made of each.

    Raises:
        InputError: If the other tables bring other members.
    """
    columns = pool.columns
    instances = len(pool.tables[0])
    code = _codes(pool, instances, members)
    starts = np.flatnonzero(np.diff(columns.image, prepend=-1))
    cells = np.append(starts, len(columns.image)).astype(np.int64)
    known = np.array([prior.get(int(key), np.nan) for key in pool.category_ids], np.float64)
    count = PER_MEMBER * len(members) + COMMON

    def task(low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        first, last = columns.start[cells[low]], columns.start[cells[high]]
        size = int(np.count_nonzero(columns.row[first:last] < instances))
        out, rows = np.full((size, count), np.nan), np.empty(size, np.int64)
        best = np.empty(_RIVALS, np.int64)
        describe_images(low, high, columns, cells, instances, code, len(members), known, best, out, rows)
        return rows, use(out, rows)

    pieces = run(task, chunks(columns.start[cells], _RANGE))
    if not pieces:
        nothing = np.zeros(0, np.int64)
        return nothing, use(np.zeros((0, count)), nothing)
    rows, made = joined(pieces)
    return rows, made


def _codes(pool: Pool, instances: int, members: Sequence[str]) -> np.ndarray:
    """Return the place of each of the pool's members among those of the model, int64; -1 for one that only fused."""
    given = {pool.members[number] for number in np.unique(pool.member[instances:])}
    tables = {table.metadata.member for table in pool.tables[1:] if table.member is None}
    given |= {name for name in tables if name is not None}
    strange = sorted(given - set(members))
    if strange:
        raise InputError(
            "learned scores",
            f"were learned without member {strange[0]!r}; with {listing(members)}",
            "Leave it out, or learn them again with it",
        )
    known = {name for table in pool.tables[1:] for name in _names(table)}
    missing = [name for name in members if name not in known]
    if missing:
        raise InputError(
            "learned scores",
            f"were learned with member {missing[0]!r}, which is not given; there are {listing(sorted(known))}",
            "Give its table, or learn them again without it",
        )
    place = {name: number for number, name in enumerate(members)}
    return np.array([place.get(name, -1) for name in pool.members], np.int64)


def _names(table: Any) -> list[str]:
    if table.member is None:
        return [] if table.metadata.member is None else [table.metadata.member]
    return list(table.member.dictionary.to_pylist())

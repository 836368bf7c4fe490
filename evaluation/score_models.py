"""Learning what a fused box is worth from what the members say of it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from evaluation.folds import folds_of
from evaluation.open_images import PreparedOpenImages
from evaluation.prepared import Prepared
from evaluation.worth import mean_precision
from fusion.checks import one_of
from fusion.errors import InputError
from fusion.kernels.context import COMMON, PER_MEMBER
from fusion.pool import pool_tables
from fusion.score_models import NO_TREES, Linear, ScoreModel, Trees, describe
from fusion.table import DetectionTable

__all__ = ["KINDS", "LearnedScores", "learn_scores"]

KINDS = ("best", "logistic", "boosting")
_PENALTY = 1.0
_ROUNDS = 150
_STEP = 10  # rounds after which cross-validation looks at the error
_RATE = 0.1
_LEAVES = 15
_DEPTH = 5  # on MVOR held-back AP is 54.84; 54.86 with 300 rounds at half the rate and any depth, at half the speed
_LEAST_PER_LEAF = 40
_SHARE = 0.5  # of the features that a split looks at
_SEED = 0
# boxes of a category after which its own average counts half
_PRIOR = 50


class LearnedScores(NamedTuple):
    """A model, and how it did on images that it was not learned on.

    Attributes:
        model: Learned on all images.
        held_back: float64 [n], scores of the boxes by models learned without their fold.
        AP: By name what these scores, and the boxes' own, give: "own", "logistic", "boosting".
    """

    model: ScoreModel
    held_back: np.ndarray
    AP: dict[str, float]


def learn_scores(
    boxes: DetectionTable,
    members: Sequence[DetectionTable],
    prepared: Prepared | PreparedOpenImages,
    *,
    kind: str = "best",
    groups: Sequence[object] | np.ndarray | None = None,
) -> LearnedScores:
    """Learn the score of a fused box from its description (`fusion.score_models.describe`).

    What is learned is at what share of the protocol's IoU thresholds the box is right (`mean_precision`). `boosting` is
    scikit-learn's histogram gradient boosting, with as many rounds as have the least squared error on the folds held
    back; `logistic` is logistic regression, for few images; `best` is the one of higher AP on the folds held back.

    Args:
        boxes: What a base recipe makes of the members.
        members: The tables that it made them of, as it takes them: one per member, or one with a column of members.
        prepared: Ground truth of their images, and the protocol whose AP counts.
        kind: One of `KINDS`.
        groups: [images] label of each image of the ground truth; see `folds_of`.

    Raises:
        InputError: If there is nothing to learn from: no box that is right, or none that is wrong.
    """
    one_of("kind", kind, KINDS)
    truth = prepared.ground_truth
    boxes = boxes.select_images(truth.image_id)
    inputs = [boxes.with_metadata(member="boxes"), *(table.select_images(truth.image_id) for table in members)]
    pool = pool_tables(inputs, shared=True)
    instances = len(boxes)
    names = tuple(pool.members[number] for number in np.unique(pool.member[instances:]))
    judged = mean_precision(boxes, prepared)
    known = ~np.isnan(judged.worth)
    worth = judged.worth[known]
    if not (len(worth) and worth.max() > 0 and worth.min() < 1):
        told = (
            "no box that counts" if not len(worth) else "only boxes that are " + ("wrong" if worth[0] == 0 else "right")
        )
        raise InputError("learned scores", f"there is {told} to learn from", "Learn on more images")
    image = np.searchsorted(truth.image_id, judged.image_id)
    fold = folds_of(truth, groups)[image][known]
    rows, features = describe(pool, names, {}, np.copy)
    features = features[np.argsort(rows)]
    data = _Data(features[known], worth, judged.category_id[known], fold)
    kinds = ("logistic", "boosting") if kind == "best" else (kind,)
    held_back, rounds, figures = {}, _ROUNDS, {"own": float(prepared.evaluate(boxes).AP)}
    for one in kinds:
        scores = np.zeros(instances)
        scores[known], rounds = _held_back(data, names, one)
        held_back[one] = scores
        figures[one] = float(prepared.evaluate(boxes.with_scores(scores)).AP)
    best = max(kinds, key=lambda one: figures[one])
    return LearnedScores(_learn(data, names, best, rounds), held_back[best], figures)


class _Data(NamedTuple):
    """Features float64 [n, f], worth [n], category ids [n] and folds [n] of boxes that count."""

    features: np.ndarray
    worth: np.ndarray
    category: np.ndarray
    fold: np.ndarray

    def where(self, chosen: np.ndarray) -> "_Data":
        return _Data._make(column[chosen] for column in self)


def _held_back(data: _Data, members: tuple[str, ...], kind: str) -> tuple[np.ndarray, int]:
    """Return the score of each box by a model learned on the other folds, and with how many rounds."""
    stages = range(_STEP, _ROUNDS + 1, _STEP) if kind == "boosting" else range(1)
    scores = np.zeros((len(stages), len(data.worth)))
    for number in np.unique(data.fold):
        held = data.fold == number
        rest = data.where(~held)
        if held.all() or not len(rest.worth):
            continue
        model = _learn(rest, members, kind, _ROUNDS)
        features = _with_prior(data.where(held), model.prior)
        for place, rounds in enumerate(stages):
            scores[place, held] = (
                model.first(rounds).score_features(features) if rounds else model.score_features(features)
            )
    best = int(np.argmin(((scores - data.worth) ** 2).mean(axis=1)))
    return scores[best], stages[best]


def _learn(data: _Data, members: tuple[str, ...], kind: str, rounds: int) -> ScoreModel:
    ids, place = np.unique(data.category, return_inverse=True)
    overall, size = data.worth.mean(), np.bincount(place)
    mean = (np.bincount(place, data.worth) + _PRIOR * overall) / (size + _PRIOR)
    prior = {int(key): float(value) for key, value in zip(ids, mean, strict=True)}
    features = _with_prior(data, prior)
    trees, linear = _boosting(features, data.worth, rounds) if kind == "boosting" else _logistic(features, data.worth)
    return ScoreModel(members=members, linear=linear, trees=trees, prior=prior)


def _with_prior(data: _Data, prior: Mapping[int, float]) -> np.ndarray:
    features = data.features.copy()
    ids, place = np.unique(data.category, return_inverse=True)
    features[:, -1] = np.array([prior.get(int(key), np.nan) for key in ids])[place]
    return features


def _logistic(features: np.ndarray, worth: np.ndarray) -> tuple[Trees, Linear]:
    from sklearn.linear_model import LogisticRegression

    count = features.shape[1]
    ious = np.arange(0, count - COMMON, PER_MEMBER)
    values = np.hstack((np.nan_to_num(features), ~np.isnan(features[:, ious])))
    middle, scale = values.mean(axis=0), values.std(axis=0)
    scale[scale < 1e-9] = 1.0  # the same for all
    standard = (values - middle) / scale
    # each box as a right and a wrong one, weighted by its worth: the likelihood of a share
    fit = LogisticRegression(C=1 / _PENALTY, solver="newton-cholesky", max_iter=200).fit(
        np.concatenate((standard, standard)),
        np.repeat([True, False], len(worth)),
        np.concatenate((worth, 1 - worth)),
    )
    weight = fit.coef_[0] / scale
    known = np.zeros(count)
    known[ious] = weight[count:]
    return NO_TREES, Linear(weight[:count], known, float(fit.intercept_[0] - middle @ weight))


def _boosting(features: np.ndarray, worth: np.ndarray, rounds: int) -> tuple[Trees, Linear]:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    learner = HistGradientBoostingRegressor(
        max_iter=rounds,
        learning_rate=_RATE,
        max_leaf_nodes=_LEAVES,
        max_depth=_DEPTH,
        min_samples_leaf=_LEAST_PER_LEAF,
        max_features=_SHARE,
        early_stopping=False,
        random_state=_SEED,
    )
    # on two busy cores OpenMP's threads waited for each other eight times as long as one alone took
    with threadpool_limits(1, user_api="openmp"):
        fit = learner.fit(features, worth)
    parts, roots, before = [], [], 0
    # scikit-learn has no public way to its trees; tests compare the scores of these with its own
    for [tree] in fit._predictors:
        nodes, own = tree.nodes, np.arange(before, before + len(tree.nodes))
        leaf = nodes["is_leaf"].astype(bool)
        children = [np.where(leaf, own, before + nodes[side].astype(np.int64)) for side in ("left", "right")]
        missing = nodes["missing_go_to_left"].astype(bool)
        parts.append((nodes["num_threshold"], nodes["value"], nodes["feature_idx"], *children, missing))
        roots.append(before)
        before += len(nodes)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    kinds = [array.dtype for array in NO_TREES]
    trees = Trees._make(column.astype(kind) for column, kind in zip([*columns, np.array(roots)], kinds, strict=True))
    none = np.zeros(features.shape[1])
    return trees, Linear(none, none, float(np.ravel(fit._baseline_prediction)[0]))

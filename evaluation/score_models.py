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
# trees of a category's own, and how many boxes it must have for these
_OWN_ROUNDS = 15
_OWN_DEPTH = 3
_OWN_LEAST = 200
# standard errors by which they must lower the squared error: with one, AP fell as often as it rose
_OWN_SURE = 2.0


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
    With boosting, a category gets some trees of its own where these lower the squared error of its boxes on the folds
    held back by more than two standard errors over images.

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
    rows, features = describe(pool, names, {}, lambda part, _: part.copy())
    features = features[np.argsort(rows)]
    data = _Data(features, judged.worth, judged.category_id, image, folds_of(truth, groups)[image]).where(known)
    kinds = ("logistic", "boosting") if kind == "best" else (kind,)
    held_back, figures = {}, {"own": float(prepared.evaluate(boxes).AP)}
    own: dict[int, Trees] = {}
    rounds = _ROUNDS
    for one in kinds:
        scores = np.zeros(instances)
        models, rounds, scores[known] = _held_back(data, names, one)
        if one == "boosting":
            own, scores[known] = _own_trees(data, models, scores[known])
        held_back[one] = scores
        figures[one] = float(prepared.evaluate(boxes.with_scores(scores)).AP)
    best = max(kinds, key=lambda one: figures[one])
    model = _learn(data, names, best, rounds)
    return LearnedScores(model.with_own(own) if best == "boosting" else model, held_back[best], figures)


class _Data(NamedTuple):
    """Features float64 [n, f], worth [n], category ids [n], images [n] and folds [n] of boxes that count."""

    features: np.ndarray
    worth: np.ndarray
    category: np.ndarray
    image: np.ndarray
    fold: np.ndarray

    def where(self, chosen: np.ndarray) -> "_Data":
        return _Data._make(column[chosen] for column in self)


def _held_back(data: _Data, members: tuple[str, ...], kind: str) -> tuple[dict[int, ScoreModel], int, np.ndarray]:
    """Return models learned without each fold, with how many rounds, and the score of each box by that of its fold."""
    stages = range(_STEP, _ROUNDS + 1, _STEP) if kind == "boosting" else range(1)
    scores, models = np.zeros((len(stages), len(data.worth))), {}
    for number in np.unique(data.fold).tolist():
        held = data.fold == number
        rest = data.where(~held)
        if held.all() or not len(rest.worth):
            continue
        models[number] = model = _learn(rest, members, kind, _ROUNDS)
        features = _with_prior(data.where(held), model.prior)
        for place, rounds in enumerate(stages):
            scores[place, held] = (
                model.first(rounds).score_features(features) if rounds else model.score_features(features)
            )
    best = int(np.argmin(((scores - data.worth) ** 2).mean(axis=1)))
    if stages[best]:
        models = {number: model.first(stages[best]) for number, model in models.items()}
    return models, stages[best], scores[best]


def _own_trees(
    data: _Data, models: Mapping[int, ScoreModel], held_back: np.ndarray
) -> tuple[dict[int, Trees], np.ndarray]:
    """Learn trees of single categories, on what the trees for all leave; keep those that help on the folds held back.

    Args:
        data: The boxes.
        models: Learned without each fold.
        held_back: float64 [n], the scores by these.

    Returns:
        Trees by category id, and the scores held back with them.
    """
    ids, size = np.unique(data.category, return_counts=True)
    own, scores = {}, held_back.copy()
    for key in ids[size >= _OWN_LEAST].tolist() if len(ids) > 1 else ():
        rows = np.flatnonzero(data.category == key)
        part, left = data.where(rows), data.worth[rows] - held_back[rows]
        with_own = held_back[rows].copy()
        for number, model in models.items():
            held = part.fold == number
            if held.any() and not held.all():
                # without the mean, which is the same for all boxes of the category
                trees, _ = _trees_of(part.features[~held], left[~held], _OWN_ROUNDS, _OWN_DEPTH)
                features = _with_prior(part.where(held), model.prior)
                with_own[held] = model.with_own({key: trees}).score_features(features, part.category[held])
        saved = _misfit(held_back[rows], part.worth) - _misfit(with_own, part.worth)
        each = np.bincount(np.unique(part.image, return_inverse=True)[1], saved)
        if each.sum() > _OWN_SURE * np.sqrt(len(each) * each.var()):
            own[key], _ = _trees_of(part.features, left, _OWN_ROUNDS, _OWN_DEPTH)
            scores[rows] = with_own
    return own, scores


def _misfit(scores: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """Return the squared errors of boxes of a category, scores on the line that fits best: only their order counts."""
    centred = scores - scores.mean()
    slope = centred @ worth / max(centred @ centred, 1e-12)
    errors: np.ndarray = (worth - worth.mean() - slope * centred) ** 2
    return errors


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
    trees, mean = _trees_of(features, worth, rounds, _DEPTH)
    none = np.zeros(features.shape[1])
    return trees, Linear(none, none, mean)


def _trees_of(features: np.ndarray, values: np.ndarray, rounds: int, depth: int) -> tuple[Trees, float]:
    """Learn trees whose sum and the mean of some values, which is returned too, is near these values."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    learner = HistGradientBoostingRegressor(
        max_iter=rounds,
        learning_rate=_RATE,
        max_leaf_nodes=_LEAVES,
        max_depth=depth,
        min_samples_leaf=_LEAST_PER_LEAF,
        max_features=_SHARE,
        early_stopping=False,
        random_state=_SEED,
    )
    # on two busy cores OpenMP's threads waited for each other eight times as long as one alone took
    with threadpool_limits(1, user_api="openmp"):
        fit = learner.fit(np.where(np.isnan(features).all(axis=0), 0.0, features), values)
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
    return trees, float(np.ravel(fit._baseline_prediction)[0])

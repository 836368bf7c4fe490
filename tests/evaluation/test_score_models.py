"""Learned scores: the trees are scikit-learn's, what is held back is honest, and they help where they can."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from evaluation import evaluate, prepare
from evaluation.ground_truth import GroundTruth
from evaluation.score_models import _boosting, _logistic, learn_scores
from fusion.errors import InputError
from fusion.kernels.context import COMMON, PER_MEMBER
from fusion.run import apply
from fusion.score_models import ScoreModel
from fusion.steps.rescore import Rescore
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable, Metadata

COUNT = 2 * PER_MEMBER + COMMON


@pytest.fixture(scope="module")
def confirmed():
    """Member a's scores say nothing, and b has a box wherever a's is right, and seldom elsewhere."""
    rng = np.random.default_rng(5)
    images, each = 160, 12
    n = images * each
    image = np.repeat(np.arange(images), each)
    low = np.stack([np.tile(np.arange(each) * 100.0, images), np.zeros(n)], axis=1)
    right = rng.random(n) < 0.4
    boxes = np.hstack([low, np.full((n, 2), 50.0)])
    category = rng.integers(1, 4, n)
    truth = GroundTruth.from_arrays(
        image_id=np.arange(images),
        category_id=[1, 2, 3],
        annotation_image_id=image[right],
        annotation_category_id=category[right],
        xywh=boxes[right],
    )
    tables = []
    for name, present in (("a", np.ones(n, bool)), ("b", right ^ (rng.random(n) < 0.1))):
        tables.append(
            DetectionTable.from_arrays(
                image_id=image[present],
                category_id=category[present],
                score=rng.random(present.sum()),
                xywh=(boxes + rng.normal(0, 1, (n, 4)))[present],
                metadata=Metadata(member=name),
            )
        )
    return truth, tables


def described(seed, n=3000):
    rng = np.random.default_rng(seed)
    features = rng.random((n, COUNT))
    features[rng.random((n, COUNT)) < 0.2] = np.nan
    worth = np.clip(np.nan_to_num(features[:, 0]) * 0.7 + 0.3 * (features[:, 8] > 0.5) + rng.normal(0, 0.1, n), 0, 1)
    return features, worth


def test_trees_are_those_of_scikit_learn():
    features, worth = described(0)
    trees, linear = _boosting(features, worth, 30)
    theirs = HistGradientBoostingRegressor(
        max_iter=30,
        learning_rate=0.1,
        max_leaf_nodes=15,
        max_depth=5,
        min_samples_leaf=40,
        max_features=0.5,
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(1, user_api="openmp"):
        theirs.fit(features, worth)
    model = ScoreModel(members=("a", "b"), linear=linear, trees=trees)
    new, _ = described(1)
    wanted, ours = theirs.predict(new), model.score_features(new)
    middle = (wanted > 0.02) & (wanted < 0.98)
    assert middle.mean() > 0.8
    np.testing.assert_allclose(ours[middle], wanted[middle], rtol=1e-12)
    five = model.first(5)
    staged = next(stage for number, stage in enumerate(theirs.staged_predict(new), 1) if number == 5)
    np.testing.assert_allclose(five.score_features(new), staged, rtol=1e-12)


def test_logistic_regression_finds_the_chances_that_made_the_data():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(40_000, COUNT))
    absent = rng.random(40_000) < 0.3
    features[absent, :PER_MEMBER] = np.nan
    odds = np.where(absent, -1.0, 1.5 * np.nan_to_num(features[:, 0])) + 0.8 * features[:, -2]
    _, linear = _logistic(features, (rng.random(40_000) < 1 / (1 + np.exp(-odds))).astype(float))
    assert linear.weight[0] == pytest.approx(1.5, abs=0.08)
    assert linear.weight[-2] == pytest.approx(0.8, abs=0.05)
    assert linear.constant == pytest.approx(-1.0, abs=0.08)
    assert linear.known[0] == pytest.approx(1.0, abs=0.1)
    assert not linear.known[1:PER_MEMBER].any()


@pytest.mark.parametrize("kind", ["logistic", "boosting", "best"])
def test_learned_scores_help_on_images_that_they_were_not_learned_on(confirmed, kind):
    truth, tables = confirmed
    learn, verify = (truth.subset(truth.image_id[part::2]) for part in (0, 1))
    fused = apply(Wbf(iou=0.6), tables)
    learned = learn_scores(fused, tables, prepare(learn), kind=kind)
    assert set(learned.AP) == {"own", "logistic", "boosting"} if kind == "best" else {"own", kind}
    assert kind in ("best", learned.model.kind)
    assert learned.AP[learned.model.kind] > learned.AP["own"] + 0.08
    shown = [table.select_images(verify.image_id) for table in (fused, *tables)]
    assert evaluate(apply(Rescore(model=learned.model), shown), verify).AP > evaluate(shown[0], verify).AP + 0.08


def test_the_same_data_give_the_same_model(confirmed, monkeypatch):
    truth, tables = confirmed
    fused = apply(Wbf(iou=0.6), tables)
    first = learn_scores(fused, tables, prepare(truth), kind="boosting")
    monkeypatch.setenv("QUORUM_THREADS", "3")
    again = learn_scores(fused, tables, prepare(truth), kind="boosting")
    assert first.model == again.model
    assert first.held_back.tobytes() == again.held_back.tobytes()


def test_what_is_held_back_has_not_seen_its_own_group():
    """Where a group's boxes are right by the toss of a coin, no model scores those held back better than chance."""
    rng = np.random.default_rng(3)
    images, each = 60, 20
    low = np.tile(np.arange(each) * 100.0, images)
    right = rng.random(images * each) < 0.5
    truth = GroundTruth.from_arrays(
        image_id=np.arange(images),
        category_id=[1],
        annotation_image_id=np.repeat(np.arange(images), each)[right],
        annotation_category_id=np.ones(right.sum(), int),
        xywh=np.stack([low, low * 0, low * 0 + 50, low * 0 + 50], axis=1)[right],
    )
    size = rng.uniform(48, 52, (images * each, 2))
    table = DetectionTable.from_arrays(
        image_id=np.repeat(np.arange(images), each),
        category_id=np.ones(images * each, int),
        score=rng.random(images * each),
        xywh=np.hstack([np.stack([low, low * 0], axis=1), size]),
        metadata=Metadata(member="a"),
    )
    learned = learn_scores(table, [table], prepare(truth), kind="boosting")
    means = [learned.held_back[right == which].mean() for which in (False, True)]
    assert abs(means[1] - means[0]) < 0.02


@pytest.fixture(scope="module")
def opposed():
    """Wide boxes are right in every other category and wrong in the rest; of 9 there are few."""
    rng = np.random.default_rng(6)
    images, each = 120, 30
    n = images * each
    image = np.repeat(np.arange(images), each)
    category = np.where(rng.random(n) < 0.02, 9, rng.integers(1, 9, n))
    wide = rng.random(n) < 0.5
    right = rng.random(n) < np.where(wide == (category % 2 == 1), 0.9, 0.1)
    low = np.stack([np.tile(np.arange(each) * 100.0, images), np.zeros(n)], axis=1)
    boxes = np.hstack([low, np.where(wide[:, None], [60.0, 40.0], [40.0, 60.0])])
    truth = GroundTruth.from_arrays(
        image_id=np.arange(images),
        category_id=np.arange(1, 10),
        annotation_image_id=image[right],
        annotation_category_id=category[right],
        xywh=boxes[right],
    )
    table = DetectionTable.from_arrays(
        image_id=image, category_id=category, score=rng.random(n), xywh=boxes, metadata=Metadata(member="a")
    )
    return truth, table


def test_categories_unlike_each_other_get_trees_of_their_own(opposed, monkeypatch):
    truth, table = opposed
    monkeypatch.setattr("evaluation.score_models._ROUNDS", 10)  # too few to tell the categories apart
    learned = learn_scores(table, [table], prepare(truth), kind="boosting")
    assert learned.model.own
    assert 9 not in learned.model.own
    monkeypatch.setattr("evaluation.score_models._OWN_LEAST", len(table))
    common = learn_scores(table, [table], prepare(truth), kind="boosting")
    assert not common.model.own
    assert learned.AP["boosting"] > common.AP["boosting"] + 0.02
    rows = np.isin(table.category_id, list(learned.model.own), invert=True)
    assert learned.held_back[rows].tobytes() == common.held_back[rows].tobytes()
    inside = learned.held_back
    assert np.all((inside > 0) & (inside < 1))


def test_no_trees_of_their_own_where_categories_are_alike(opposed):
    truth, table = opposed
    alike = np.random.default_rng(7).integers(1, 9, len(table))
    mixed = DetectionTable.from_arrays(
        image_id=table.image_id, category_id=alike, score=table.score, xywh=table.xywh, metadata=table.metadata
    )
    assert not learn_scores(mixed, [mixed], prepare(truth), kind="boosting").model.own


def test_a_member_that_is_there_in_one_fold_only(confirmed):
    truth, tables = confirmed
    part = [tables[0], tables[1].select_images(truth.image_id[:20])]
    fused = apply(Wbf(iou=0.6), part)
    assert learn_scores(fused, part, prepare(truth), kind="boosting").model.members == ("a", "b")


def test_too_little_to_learn_from(confirmed):
    truth, tables = confirmed
    fused = apply(Wbf(iou=0.6), tables)
    nothing = truth.subset(truth.image_id[:2])
    empty = [table.select_images([]) for table in (fused, *tables)]
    with pytest.raises(InputError, match="there is no box that counts to learn from"):
        learn_scores(empty[0], empty[1:], prepare(nothing))
    wrong = fused.select_categories([1])
    truth2 = truth.subset(truth.image_id[:1])
    elsewhere = DetectionTable.from_arrays(
        image_id=[truth2.image_id[0]],
        category_id=[1],
        score=[0.5],
        xywh=[[9000, 9000, 5, 5]],
        metadata=Metadata(member="a"),
    )
    with pytest.raises(InputError, match="only boxes that are wrong"):
        learn_scores(elsewhere, [elsewhere], prepare(truth2))
    assert len(wrong)

"""Hold-outs that look like the whole."""

import numpy as np
import pytest

from evaluation import GroundTruth
from fusion.errors import InputError
from search.splits import matched_split, split_in_turn, strata_of


def long_tailed(images, categories, seed=0):
    """Strata of images whose categories follow Zipf's law."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, categories + 1)
    rows = [np.unique(rng.choice(categories, rng.integers(1, 6), p=share / share.sum())) for _ in range(images)]
    start = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    return start, np.concatenate(rows)


def unevenness(start, stratum, part, share):
    """Mean distance of part 0's share of a stratum from `share`, over strata of which it should have at least 2."""
    image = np.repeat(np.arange(len(start) - 1), np.diff(start))
    total = np.bincount(stratum)
    own = np.bincount(stratum[part[image] == 0], minlength=len(total))
    seen = total * share >= 2
    return np.abs(own[seen] / total[seen] - share).mean()


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.1, 0.1), (0.2, 0.3, 0.5)])
def test_shares_of_categories_are_far_closer_than_by_chance(shares):
    start, stratum = long_tailed(3000, 200)
    part = matched_split(start, stratum, shares)
    assert set(part) == set(range(len(shares))) | ({-1} if sum(shares) < 1 else set())
    for number, share in enumerate(shares):
        assert abs((part == number).mean() - share) < 0.005
    by_chance = np.random.default_rng(1).choice(len(part), len(part)) / len(part)
    drawn = np.searchsorted(np.cumsum(shares), by_chance)
    assert unevenness(start, stratum, part, shares[0]) < 0.3 * unevenness(start, stratum, drawn, shares[0])


def test_groups_stay_together():
    start, stratum = long_tailed(600, 40)
    groups = np.arange(600) // 7
    part = matched_split(start, stratum, (0.5, 0.5), groups=groups)
    assert all(len(set(part[groups == group])) == 1 for group in set(groups))
    assert abs((part == 0).mean() - 0.5) < 0.03


def test_seeds():
    start, stratum = long_tailed(300, 20)
    first, again, other = (matched_split(start, stratum, (0.5, 0.5), seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_strata_are_categories_by_size():
    truth = GroundTruth.from_arrays(
        image_id=[5, 9],
        category_id=[1, 2],
        annotation_image_id=[5, 5, 9, 5],
        annotation_category_id=[1, 1, 2, 1],
        xywh=[[0, 0, 10, 10], [0, 0, 5, 5], [0, 0, 200, 200], [0, 0, 50, 50]],
    )
    start, stratum = strata_of(truth)
    assert start.tolist() == [0, 2, 3]
    assert stratum.tolist() == [0, 1, 5]


def test_images_without_objects_are_dealt_too():
    part = matched_split(np.zeros(101, np.int64), np.zeros(0, np.int64), (0.5, 0.5))
    assert abs((part == 0).sum() - 50) <= 1
    assert split_in_turn(5, 2).tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("shares", [(), (0.5, 0.6), (0.0, 0.5), (-1.0,)])
def test_bad_shares(shares):
    with pytest.raises(InputError, match="shares"):
        matched_split(np.zeros(3, np.int64), np.zeros(0, np.int64), shares)


def test_bad_groups():
    with pytest.raises(InputError, match="groups"):
        matched_split(np.zeros(3, np.int64), np.zeros(0, np.int64), (0.5,), groups=np.zeros(7))

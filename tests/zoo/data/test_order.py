"""The order of an epoch: by chance, by repeat factors, by category, and in batches of one orientation."""

from collections import Counter
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.errors import InputError
from tests.zoo.data.cases import Blank, truth_of
from zoo.config import Model, Stream, Subset, TrainData
from zoo.data import AnnotatedImages, JoinedData, TrainSet, epoch_order
from zoo.data.counts import category_counts
from zoo.data.order import class_aware, grouped, repeat_factors, repeated
from zoo.feed import Feed, Position, Share

LISTS = st.lists(st.lists(st.integers(1, 6), max_size=5), min_size=1, max_size=40)
seeds = st.integers(0, 1000)


def data_of(image_categories, **given):
    truth = truth_of(image_categories, **given)
    return AnnotatedImages(truth, Blank(truth), name="test")


def plain_factors(image_categories, threshold):
    """The definition, image by image."""
    count = Counter(c for listed in image_categories for c in set(listed))
    factor = {c: max(1.0, (threshold * len(image_categories) / n) ** 0.5) for c, n in count.items()}
    return [max((factor[c] for c in listed), default=1.0) for listed in image_categories]


@settings(max_examples=60, deadline=None)
@given(LISTS, st.floats(1e-4, 1))
def test_repeat_factors(image_categories, threshold):
    factors = repeat_factors(data_of(image_categories).image_categories, threshold)
    assert np.allclose(factors, plain_factors(image_categories, threshold))


def test_repeats_by_chance_have_the_right_mean():
    factors = np.array([1.0, 2.5, 1.25, 3.0])
    rng = np.random.default_rng(0)
    counts = np.array([np.bincount(repeated(factors, rng), minlength=4) for _ in range(2000)])
    assert set(counts[:, 1]) == {2, 3}
    assert set(counts[:, 3]) == {3}
    assert set(counts[:, 0]) == {1}
    assert np.allclose(counts.mean(0), factors, atol=0.05)


@settings(max_examples=40, deadline=None)
@given(LISTS.filter(any), st.integers(1, 100), st.integers(0, 1000))
def test_class_aware_takes_categories_in_turn(image_categories, length, seed):
    labels = data_of(image_categories, categories=8).image_categories
    order, asked = class_aware(labels, length, np.random.default_rng(seed))
    for image, asked_for in zip(order, asked, strict=True):
        assert asked_for in labels.category[labels.start[image] : labels.start[image + 1]]
    present = sorted({c for listed in image_categories for c in listed})
    assert len(order) == length
    for start in range(0, length - len(present) + 1, len(present)):
        # some assignment gives each category of a round an image of its own: that of the draw
        drawn = [set(image_categories[i]) for i in order[start : start + len(present)]]
        assert all(drawn)
        assert matches(drawn, present)


def matches(drawn, categories):
    """Whether each image can stand for a category of its own (augmenting paths)."""
    owner = {}

    def place(i, seen):
        for c in drawn[i]:
            if c not in seen:
                seen.add(c)
                if c not in owner or place(owner[c], seen):
                    owner[c] = i
                    return True
        return False

    return all(place(i, set()) for i in range(len(drawn))) and sorted(owner) == categories


def test_class_aware_evens_out_a_long_tail():
    image_categories = [[1]] * 90 + [[2]] * 9 + [[3]] + [[]] * 10
    order, _ = class_aware(data_of(image_categories, categories=5).image_categories, 300, np.random.default_rng(0))
    counts = Counter(image_categories[i][0] for i in order)
    assert counts == {1: 100, 2: 100, 3: 100}
    assert len(set(order[[image_categories[i] == [2] for i in order]])) == 9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), max_size=60), st.integers(1, 7), st.integers(0, 100))
def test_grouped_batches_are_of_one_kind(wide, batch, seed):
    order = np.random.default_rng(seed).permutation(len(wide))
    group = np.array(wide, bool)[order]
    result = grouped(order, group, batch)
    assert sorted(result.tolist()) == sorted(order.tolist())
    kinds = np.array(wide, bool)[result]
    full = group.sum() // batch + (~group).sum() // batch
    for k in range(full):
        assert len(set(kinds[k * batch : (k + 1) * batch])) == 1
    for value in (False, True):  # the order within a kind stays
        assert result[kinds == value].tolist() == order[group == value].tolist()


@pytest.mark.parametrize("sampler", ["shuffle", "repeat", "class_aware"])
def test_epochs_are_drawn_anew_and_reproducible(sampler):
    data = data_of([[1], [1, 2], [], [3], [1], [2]] * 5, wide=[i % 3 > 0 for i in range(30)])
    given = TrainData(sampler=sampler, repeat_threshold=0.9)

    def images(batch, *key):
        (stream,) = given.step(batch)
        return [image for image, _ in epoch_order(data, stream, *key)]

    first, again, second, other = (images(1, *key) for key in ((0, 0), (0, 0), (0, 1), (1, 0)))
    assert first == again
    assert first != second
    assert first != other
    assert all(isinstance(index, int) for index in first)
    batched = images(4, 0, 0)
    assert Counter(batched) == Counter(first)
    wide = data.sizes[:, 1] > data.sizes[:, 0]
    assert all(len(set(wide[batched[k : k + 4]])) == 1 for k in range(0, 16, 4))
    if sampler == "shuffle":
        assert sorted(first) == list(range(30))
    if sampler == "repeat":
        assert set(first) == set(range(30))
        assert len(first) > 30
    if sampler == "class_aware":
        assert len(first) == 30
        assert not set(first) & set(range(2, 30, 6))


def test_class_aware_needs_objects():
    with pytest.raises(InputError, match="no image has an object"):
        epoch_order(data_of([[], []]), Stream(images=1, sampler="class_aware"), 0, 0)


@settings(max_examples=60, deadline=None)
@given(
    LISTS.filter(any), st.integers(1, 4), st.integers(1, 2), st.lists(st.booleans(), min_size=40, max_size=40), seeds
)
def test_windows_of_a_full_class_stream_have_every_category_over_all_processes(listed, each, accumulate, wide, seed):
    """In the steps themselves, as two processes get them; categories without an object do not count."""
    data = data_of(listed, categories=9, wide=wide[: len(listed)])
    batch = 2 * each * accumulate
    stream = Stream(images=batch, sampler="full_class")
    share = Share(partial(epoch_order, data, stream, seed), batch)
    ranks = [Feed(share, accumulate=accumulate, rank=rank, world=2).micro_batches(Position()) for rank in range(2)]
    steps = [[key for rank in ranks for _ in range(accumulate) for key in next(rank)] for _ in range(24)]
    present = {c for own in listed for c in own}
    window = -(-len(present) // batch)
    for step in steps:
        assert len(step) == batch
        assert all(key.category in listed[key.image] for key in step)
    for first in range(0, len(steps) - window + 1, window):
        drawn = Counter(key.category for step in steps[first : first + window] for key in step)
        assert set(drawn) == present
        assert max(drawn.values()) - min(drawn.values()) <= 2  # of a round that is cut, and of the next
    if window > 1:
        shapes = [{wide[key.image] for key in step} for step in steps]
        mixed = [sum(len(shape) > 1 for shape in shapes[k : k + window]) for k in range(0, len(steps), window)]
        assert max(mixed) <= 1  # only what is left of both in the end


def test_full_class_takes_all_of_a_categorys_images_and_needs_objects():
    data = data_of([[1]] * 4 + [[2, 1]] + [[]], categories=3)
    orders = [epoch_order(data, Stream(images=4, sampler="full_class"), 0, epoch) for epoch in range(200)]
    assert {len(order) for order in orders} == {8}  # whole windows
    assert orders[0] != orders[1]
    often = Counter(image for order in orders for image, drawn in order if drawn == 1)
    assert all(abs(often[image] - 160) < 60 for image in range(5))
    with pytest.raises(InputError, match="no image has an object"):
        epoch_order(data_of([[], []]), Stream(images=2, sampler="full_class"), 0, 0)
    with pytest.raises(InputError, match=r"data\.subsets: .*full_class.*Give them a stream of their own"):
        Model(data=TrainData(sampler="full_class", subsets=(Subset(source="pseudo", images=1),))).validate()


def test_the_category_that_was_drawn_reaches_the_target():
    data = data_of([[1, 2], [2, 3], [4], []] * 3, wide=[i % 2 > 0 for i in range(12)])
    samples = TrainSet(data, TrainData(short=(30,), long=40), seed=0)
    order = epoch_order(data, Stream(images=3, sampler="class_aware"), 0, 0)
    for image, drawn in order:
        target = samples[0, image, 0, drawn, 1][1]
        assert (target.drawn, target.stream) == (drawn, 1)
        assert drawn in target.labels
    assert all(drawn == 0 for _, drawn in epoch_order(data, Stream(images=3), 0, 0))
    assert samples[0, 0][1].drawn == 0


def test_a_stream_takes_the_images_of_its_source():
    common, rare = data_of([[1], [1, 2], [1]], categories=3), data_of([[3], [3, 2], [], [3]], categories=3)
    rare.name = "rare"
    data = JoinedData([common, rare])
    assert sorted(image for image, _ in epoch_order(data, Stream(images=1, source="rare"), 0, 0)) == [3, 4, 5, 6]
    assert sorted(image for image, _ in epoch_order(data, Stream(images=1, source="test"), 0, 0)) == [0, 1, 2]
    drawn = epoch_order(data, Stream(images=1, source="rare", sampler="class_aware"), 0, 0)
    assert {(image, label) for image, label in drawn} <= {(3, 3), (4, 3), (4, 2), (6, 3)}
    one, two = (epoch_order(data, Stream(images=2), 0, 0, number) for number in (0, 1))
    assert one != two
    with pytest.raises(InputError, match="no data set is named 'rar'"):
        epoch_order(data, Stream(images=1, source="rar"), 0, 0)


def test_an_epoch_may_have_so_many_images_of_each_category():
    data = data_of([[1]] * 20 + [[2, 1]] * 5 + [[4]] + [[]], categories=5)
    stream = Stream(images=1, sampler="class_aware", per_category=5)
    epochs = [epoch_order(data, stream, 0, epoch) for epoch in range(300)]
    assert all(Counter(drawn for _, drawn in order) == {1: 5, 2: 5, 4: 5} for order in epochs)
    frequent = Counter(image for order in epochs for image, drawn in order if drawn == 1)
    assert set(frequent) == set(range(25))  # drawn anew in each epoch, evenly
    expected = 300 * 5 / 25
    assert all(abs(count - expected) < 5 * expected**0.5 for count in frequent.values())


def test_rare_categories_come_as_often_as_their_repeat_factors_say():
    """The expected number of images of a category in an epoch, by the definition."""
    image_categories = [[1]] * 90 + [[1, 2]] * 6 + [[3]] * 2 + [[]] * 2
    data = data_of(image_categories, categories=3)
    epochs = [epoch_order(data, Stream(images=1, sampler="repeat", repeat_threshold=0.2), 7, e) for e in range(400)]
    mean = Counter(image for order in epochs for image, _ in order)
    factors = plain_factors(image_categories, 0.2)
    assert sum(mean.values()) / 400 == pytest.approx(sum(factors), rel=0.01)
    rare = sum(count for image, count in mean.items() if image_categories[image] == [3]) / 400
    assert rare == pytest.approx(2 * (0.2 / 0.02) ** 0.5, rel=0.02)


@pytest.mark.parametrize("sampler", ["shuffle", "repeat", "class_aware"])
def test_subsets_are_drawn_anew_and_do_not_count(sampler):
    own, pseudo = data_of([[1], [1, 2], [2]], categories=3), data_of([[3]] * 8, categories=3)
    pseudo.name = "pseudo"
    both = JoinedData([own, pseudo])
    stream = Stream(images=1, sampler=sampler, repeat_threshold=1e-9, subsets=(Subset(source="pseudo", images=2),))
    epochs = [epoch_order(both, stream, 0, epoch) for epoch in range(200)]
    for order in epochs:
        drawn = [image for image, _ in order if image >= 3]
        assert len(drawn) == len(set(drawn)) == 2
        assert len(order) == 5
        assert all((label > 0) == (sampler == "class_aware" and image < 3) for image, label in order)
    often = Counter(image for order in epochs for image, _ in order if image >= 3)
    assert all(abs(often[image] - 50) < 30 for image in range(3, 11))
    assert len({tuple(image >= 3 for image, _ in order) for order in epochs}) > 5  # mixed with the others
    counts = category_counts(both, {"pseudo"})
    assert (counts.total, counts.images.tolist()) == (3, [2, 2, 0])
    assert category_counts(both).images.tolist() == [2, 2, 8]
    few = Stream(images=1, subsets=(Subset(source="pseudo", images=100),))
    assert len(epoch_order(both, few, 0, 0)) == 11


def test_images_per_category_belong_to_class_aware_sampling():
    with pytest.raises(InputError, match=r"data\.per_category: expected at least 1, with the sampler class_aware"):
        Model(data=TrainData(per_category=5)).validate()

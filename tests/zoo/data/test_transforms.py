"""Changes of images with their annotations, against dense masks; views and the way back."""

# ruff: noqa: E402

import math
from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("torchvision", reason="the extra zoo (torchvision) is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tests.zoo.data.cases import random_sample
from zoo.config import TrainData
from zoo.data import TrainSet, View, ViewSet, collate, open_data, views
from zoo.data.masks import crop_mask, flip_mask, mask_pixels, resize_mask
from zoo.data.transforms import Distort, Flip, Jitter, Resize, VisitDraws, crop, fitting_size, flip, resize, settle

DRAWS = VisitDraws(0, 0, 0)
seeds = st.integers(0, 2**32 - 1)


def pixels(target):
    return np.stack([mask_pixels(mask, target.size) for mask in target.masks])


def nearest(dense, size):
    """Each new pixel is the old one that its center lies in."""

    def places(old, new):
        return [math.floor((i + Fraction(1, 2)) * old / new) for i in range(new)]

    return dense[..., places(dense.shape[-2], size[0]), :][..., places(dense.shape[-1], size[1])]


def iou(one, other):
    one, other = np.asarray(one, bool), np.asarray(other, bool)
    return (one & other).sum() / max((one | other).sum(), 1)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, polygons=st.booleans())
def test_flip_equals_dense(seed, polygons):
    image, target, dense = random_sample(np.random.default_rng(seed), polygons=polygons)
    flipped_image, flipped = flip(image, target)
    flipped.check()
    assert torch.equal(flipped_image, image.flip(-1))
    assert torch.equal(flipped.stuff, target.stuff.flip(-1))
    if polygons:
        assert min(map(iou, pixels(flipped), dense.flip(-1).numpy())) > 0.7
    else:
        assert np.array_equal(pixels(flipped), dense.flip(-1).numpy())
    width = target.size[1]
    for before, after in ((target.boxes, flipped.boxes), (target.ignore_boxes, flipped.ignore_boxes)):
        assert torch.allclose(
            after, torch.stack([width - before[:, 2], before[:, 1], width - before[:, 0], before[:, 3]], 1)
        )
    again = flip(*flip(image, target))[1]
    assert torch.allclose(again.boxes, target.boxes, atol=1e-4)
    if not polygons:
        assert again.masks == target.masks


@settings(max_examples=40, deadline=None)
@given(seed=seeds, height=st.integers(1, 90), width=st.integers(1, 90))
def test_resize_equals_dense(seed, height, width):
    image, target, dense = random_sample(np.random.default_rng(seed))
    new_image, new = resize(image, target, (height, width))
    new.check()
    assert new_image.shape == (3, height, width)
    assert new.original_size == target.size
    expected = nearest(dense, (height, width))
    assert np.array_equal(pixels(new), expected.numpy())
    assert torch.equal(new.stuff, nearest(target.stuff, (height, width)))
    factor = torch.tensor([width / target.size[1], height / target.size[0]] * 2)
    assert torch.allclose(new.boxes, target.boxes * factor)


def test_resized_polygons_cover_what_resized_pixels_do():
    rng = np.random.default_rng(5)
    _, target, dense = random_sample(rng, polygons=True, size=(60, 50))
    _, new = resize(torch.zeros(3, 60, 50, dtype=torch.uint8), target, (180, 100))
    expected = nearest(dense, (180, 100)).numpy()
    assert min(map(iou, pixels(new), expected)) > 0.8


@settings(max_examples=60, deadline=None)
@given(seed=seeds, polygons=st.booleans(), part=st.tuples(*[st.floats(0, 1)] * 4))
def test_crop_equals_dense(seed, polygons, part):
    image, target, dense = random_sample(np.random.default_rng(seed), polygons=polygons)
    height, width = target.size
    top, left = int(part[0] * (height - 1)), int(part[1] * (width - 1))
    h, w = 1 + int(part[2] * (height - top - 1)), 1 + int(part[3] * (width - left - 1))
    cut_image, cut = crop(image, target, top, left, h, w)
    cut.check()
    assert torch.equal(cut_image, image[:, top : top + h, left : left + w])
    assert torch.equal(cut.stuff, target.stuff[top : top + h, left : left + w])
    kept, ignored = [], []
    for k, box in enumerate(target.boxes.tolist()):
        x1, x2 = (min(max(v - left, 0), w) for v in (box[0], box[2]))
        y1, y2 = (min(max(v - top, 0), h) for v in (box[1], box[3]))
        if x2 > x1 and y2 > y1:
            seen = dense[k, top : top + h, left : left + w].any()
            # a polygon is rasterised anew, so that of a sliver a pixel more or less may be there
            (kept if seen or (polygons and k + 1 in cut.labels.tolist()) else ignored).append(k)
    if not polygons:
        assert (cut.labels - 1).tolist() == kept
        assert np.array_equal(
            pixels(cut) if kept else np.zeros((0, h, w)), dense[kept][:, top : top + h, left : left + w].numpy()
        )
        assert cut.ignore_labels.tolist()[len(cut.ignore_labels) - len(ignored) :] == [k + 1 for k in ignored]
    assert ((cut.boxes >= 0) & (cut.boxes <= torch.tensor([w, h] * 2))).all()
    assert (cut.boxes[:, 2:] > cut.boxes[:, :2]).all()


def test_cropped_polygons_keep_their_pixels():
    _, target, dense = random_sample(np.random.default_rng(2), polygons=True, size=(60, 60))
    for mask, plane in zip(target.masks, dense.numpy(), strict=True):
        part = mask_pixels(crop_mask(mask, 10, 12, 40, 30), (40, 30))
        assert np.array_equal(part, plane[10:50, 12:42])


def test_small_boxes_go_to_ignore_with_their_labels():
    image, target, _ = random_sample(np.random.default_rng(0), objects=3)
    target.boxes[1] = torch.tensor([4.0, 4.0, 4.9, 9.0])
    floats, settled = settle(image, target)
    settled.check()
    assert floats.dtype == torch.float32
    assert floats.min() >= 0
    assert floats.max() <= 1
    assert settled.labels.tolist() == [1, 3]
    assert len(settled.masks) == 2
    assert settled.ignore_labels.tolist() == [3, 2]
    assert settled.ignore_boxes[1].tolist() == target.boxes[1].tolist()
    assert len(settle(image, random_sample(np.random.default_rng(0), objects=0)[1])[1].boxes) == 0


def test_a_painted_box_stays_in_its_box():
    """The image moves with the boxes: a white rectangle is found where its box says."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        image = torch.zeros(3, 60, 80, dtype=torch.uint8)
        x, y = int(rng.integers(5, 40)), int(rng.integers(5, 30))
        image[:, y : y + 20, x : x + 24] = 255
        _, target, _ = random_sample(rng, objects=1, size=(60, 80))
        target.boxes[0] = torch.tensor([x, y, x + 24, y + 20])
        draws = VisitDraws(seed, 0, 0)
        for transform in (Flip(), Resize((90, 150), 300, between=True), Jitter(0.7, 1.0)):
            image, target = transform(image, target, draws)
        ys, xs = torch.nonzero(image[0] > 127, as_tuple=True)
        found = torch.tensor([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        assert (found - target.boxes[0]).abs().max() <= 1


@pytest.mark.parametrize(
    ("size", "short", "long", "expected"),
    [((480, 640), 800, 1333, (800, 1067)), ((480, 1000), 800, 1333, (640, 1333)), ((10, 500), 3, 50, (1, 50))],
)
def test_fitting_size(size, short, long, expected):
    assert fitting_size(size, short, long) == expected


def test_resize_draws_every_length_of_its_range():
    image, target, _ = random_sample(np.random.default_rng(0), size=(40, 60))
    between = {Resize((30, 33), 500, between=True)(image, target, VisitDraws(0, e, 0))[1].size[0] for e in range(60)}
    assert between == {30, 31, 32, 33}
    listed = {Resize((30, 33), 500)(image, target, VisitDraws(0, e, 0))[1].size[0] for e in range(40)}
    assert listed == {30, 33}


def test_jitter_is_no_larger_than_before():
    image, target, _ = random_sample(np.random.default_rng(0), size=(40, 60))
    sizes = []
    for epoch in range(40):
        part, changed = Jitter(0.5, 2.0)(image, target, VisitDraws(0, epoch, 0))
        changed.check()
        assert tuple(part.shape[1:]) == changed.size
        sizes.append(changed.size)
    assert max(sizes) == (40, 60)
    assert min(sizes)[0] < 30


def test_distort_changes_colours_only():
    image, target, _ = random_sample(np.random.default_rng(0))
    changed = [Distort()(image, target, VisitDraws(0, epoch, 0)) for epoch in range(20)]
    assert all(other is target for _, other in changed)
    assert sum(not torch.equal(one, image) for one, _ in changed) > 12
    assert all(one.dtype == torch.uint8 and one.shape == image.shape for one, _ in changed)


def test_draws_have_streams_of_their_own():
    keys = [VisitDraws(*key) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0, 1)]]
    values = {draws.of(name).random() for draws in keys for name in ("flip", "resize")}
    assert len(values) == 10
    assert keys[0].of("flip").random() == VisitDraws(0, 0, 0).of("flip").random()


def train_settings(**given):
    return TrainData(short=(48, 96), short_range=True, long=160, **given)


def test_another_transform_does_not_change_the_draws_of_the_rest():
    data = open_data("scenes:12,64,0")
    plain, coloured = TrainSet(data, train_settings(), 0), TrainSet(data, train_settings(photometric=True), 0)
    for index in range(12):
        one, other = plain[0, index][1], coloured[0, index][1]
        assert one.size == other.size
        assert torch.equal(one.boxes, other.boxes)
        assert one.masks == other.masks
    assert any(not torch.equal(plain[0, i][0], coloured[0, i][0]) for i in range(12))


def test_samples_do_not_depend_on_workers():
    data = TrainSet(open_data("scenes:12,64,0"), train_settings(photometric=True, jitter=(0.6, 1.4)), 7)
    keys = [[(1, 3), (1, 5)], [(1, 3, 1), (2, 3)], [(0, 11), (0, 2)]]
    batches = [list(DataLoader(data, batch_sampler=keys, num_workers=n, collate_fn=collate)) for n in (0, 2)]
    for (images, targets), (others, other_targets) in zip(*batches, strict=True):
        assert all(map(torch.equal, images, others))
        assert [t.masks for t in targets] == [t.masks for t in other_targets]
        for target in targets:
            target.check()
    sizes = [target.size for target in (batches[0][0][1][0], *batches[0][1][1])]
    assert len(set(sizes)) == 3  # epoch and visit each give new draws


def test_training_and_view_sizes():
    data = open_data("scenes:8,64,0")
    for index in range(8):
        image, target = TrainSet(data, train_settings(), 0)[0, index]
        assert 48 <= min(target.size) <= 96
        assert max(target.size) <= 160
        assert tuple(image.shape[1:]) == target.size
        assert target.original_size == tuple(data.sizes[index])
        image, target = ViewSet(data, 50, 60, flip=True)[index]
        assert min(target.size) <= 50
        assert max(target.size) <= 60
        assert tuple(image.shape[1:]) == target.size


@settings(max_examples=40, deadline=None)
@given(seed=seeds, short=st.integers(10, 120), flipped=st.booleans())
def test_views_lead_back(seed, short, flipped):
    image, target, dense = random_sample(np.random.default_rng(seed))
    view = View(short, 200, flipped)
    _, seen = view.apply(image, target)
    original = target.size
    assert seen.size == view.size(original)
    assert torch.allclose(view.undo_boxes(seen.boxes, original), target.boxes, atol=1e-2)
    stack = nearest(dense, seen.size)
    stack = stack.flip(-1) if flipped else stack
    assert np.array_equal(pixels(seen), stack.numpy())
    back = nearest(stack.flip(-1) if flipped else stack, original)
    undone = [mask_pixels(view.undo_mask(mask, original), original) for mask in seen.masks]
    assert np.array_equal(np.stack(undone), back.numpy())


def test_views_of_whole_factors_lose_nothing():
    _, target, dense = random_sample(np.random.default_rng(3), size=(30, 40))
    for view in views((60, 90), 1000, with_flip=True):
        seen = view.apply(torch.zeros(3, 30, 40, dtype=torch.uint8), target)[1]
        for mask, plane in zip(seen.masks, dense.numpy(), strict=True):
            assert np.array_equal(mask_pixels(view.undo_mask(mask, (30, 40)), (30, 40)), plane)
    assert [view.name for view in views((60, 90), 1000, with_flip=True)] == ["60", "60-flip", "90", "90-flip"]


def test_masks_without_change():
    assert resize_mask([[1.0, 2.0, 3.0, 2.0, 3.0, 5.0]], (9, 9), (9, 9)) == [[1.0, 2.0, 3.0, 2.0, 3.0, 5.0]]
    assert flip_mask([[1.0, 2.0, 3.0, 2.0, 3.0, 5.0]], 9) == [[8.0, 2.0, 6.0, 2.0, 6.0, 5.0]]
    assert mask_pixels([], (4, 5)).sum() == 0

"""The elaborate augmentation: what it knows of the data, what it draws, and what stays of a picture."""

# ruff: noqa: E402

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("torchvision", reason="torchvision is not installed")
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.ground_truth import GroundTruth
from fusion.errors import InputError
from tests.zoo.data.cases import Blank, random_sample
from zoo.config import Elaborate, Model, Stream, TrainData, replace
from zoo.data import AnnotatedImages, JoinedData, Target, TrainSet, elaborate, epoch_order, open_data
from zoo.data.elaborate import Elaborated, Shapes, shapes_of
from zoo.data.masks import mask_pixels, pack
from zoo.data.rotation import rotate
from zoo.data.transforms import VisitDraws

seeds = st.integers(0, 2**32 - 1)
EVENLY = Shapes(np.array([0.0, 3.0, 9.0]), np.linspace(0.05, 0.9, 101), np.linspace(0, 1, 101))
STILL = Elaborate(degrees=0, least=0, most=0)


def random_truth(rng, unit="pixel"):
    count, images = int(rng.integers(1, 30)), 5
    width, height = rng.integers(30, 60, images), rng.integers(30, 60, images)
    image = rng.integers(0, images, count)
    size = np.stack([width, height], 1)[image]
    xywh = np.concatenate([rng.uniform(0, 5, (count, 2)), rng.uniform(1, 25, (count, 2))], 1)
    return GroundTruth.from_arrays(
        image_id=np.arange(images),
        category_id=np.arange(1, 5),
        annotation_image_id=image,
        annotation_category_id=rng.integers(1, 4, count),
        xywh=xywh / np.tile(size, 2) if unit == "normalized" else xywh,
        crowd=rng.random(count) < 0.2,
        width=width,
        height=height,
        unit=unit,
    )


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_shapes_are_those_of_all_objects_one_by_one(seed):
    rng = np.random.default_rng(seed)
    truths = [random_truth(rng), random_truth(rng, "normalized")]
    data = JoinedData([AnnotatedImages(t, Blank(t), name=f"part {k}") for k, t in enumerate(truths)])
    ratios, scales = {}, []
    for truth in truths:
        for row in np.flatnonzero(~truth.crowd):
            w, h = truth.xywh[row, 2:].tolist()
            of = int(truth.width[truth.image[row]]), int(truth.height[truth.image[row]])
            if truth.unit == "normalized":
                w, h = w * of[0], h * of[1]
            ratios.setdefault(int(truth.category[row]), []).append(abs(np.log2(w / h)))
            scales.append(max(w, h) / max(of))
    found = shapes_of(data)
    assert found.imbalance == pytest.approx([np.mean(ratios[k]) if k in ratios else 0.0 for k in range(4)])
    if scales:
        assert (found.edges[0], found.edges[-1]) == pytest.approx((min(scales), max(scales)))
        below = [sum(scale <= edge + 1e-9 for scale in scales) / len(scales) for edge in found.edges]
        assert np.abs(found.share[1:] - below[1:]).max() < 1.5 / len(scales)
        assert (found.share[0], found.share[-1]) == (0, pytest.approx(1))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, low=st.floats(0, 0.9), width=st.floats(0, 0.5))
def test_scales_are_drawn_as_the_objects_between_the_limits_have_them(seed, low, width):
    rng = np.random.default_rng(seed)
    scales = np.concatenate([rng.uniform(0.1, 0.3, 400), rng.uniform(0.6, 0.65, 100)])
    edges = np.linspace(scales.min(), scales.max(), 101)
    shapes = Shapes(np.zeros(1), edges, np.array([(scales <= edge).mean() for edge in edges]))
    high = low + width
    drawn = np.array([shapes.draw(low, high, rng) for _ in range(400)])
    assert ((drawn >= low) & (drawn <= high)).all()
    inside = scales[(scales >= low) & (scales <= high)]
    if len(inside) > 50:
        for quantile in (0.25, 0.5, 0.75):
            value = np.quantile(inside, quantile)
            share = ((inside < value - 0.02).mean() - 0.1, (inside < value + 0.02).mean() + 0.1)
            assert share[0] <= (drawn < value).mean() <= share[1]


@settings(max_examples=40, deadline=None)
@given(seed=seeds, memory=st.sampled_from([1.0, 0.5]))
def test_a_part_covers_a_box_of_the_category_at_a_scale_within_the_limits(seed, memory):
    rng = np.random.default_rng(seed)
    image, target, _ = random_sample(rng)
    target = replace(target, masks=None, labels=torch.tensor([1, 2, 2, 3]), drawn=2)
    image[0] = torch.arange(target.size[0])[:, None]  # so that each pixel says where it was
    image[1] = torch.arange(target.size[1])
    part, after = Elaborated(replace(STILL, memory_scale=memory), EVENLY)(image, target, VisitDraws(seed, 0, 0))
    after.check()
    top, left = part[:2, 0, 0].tolist()
    height, width = after.size
    assert torch.equal(part, image[:, top : top + height, left : left + width])
    kept = [(label, *box) for label, box in zip(after.labels.tolist(), after.boxes.tolist(), strict=True)]
    fits = []
    for label, (x1, y1, x2, y2) in zip(target.labels.tolist(), target.boxes.tolist(), strict=True):
        moved = (max(x1 - left, 0), max(y1 - top, 0), min(x2 - left, width), min(y2 - top, height))
        if moved[0] < moved[2] and moved[1] < moved[3]:
            assert any(np.allclose((label, *moved), own, atol=1e-4) for own in kept)
        if label == 2 and left <= x1 and top <= y1 and x2 <= left + width and y2 <= top + height:
            long, least, most = max(x2 - x1, y2 - y1), EVENLY.edges[0], min(memory, EVENLY.edges[-1])
            own = long / max(target.size)
            # lengths are rounded to pixels
            scaled = long / most - 1 <= max(after.size) <= long / max(own, least) + 1
            fits.append(scaled or (own >= most and part.shape == image.shape))
    assert any(fits)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_what_is_turned_and_cut_is_where_its_box_and_mask_say(seed):
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(0, (60, 90))
    rows, columns = np.mgrid[:60, :90] + 0.5
    plane = ((rows - y) / 6) ** 2 + ((columns - x) / 14) ** 2 <= 1
    if plane.sum() < 20:
        return
    ys, xs = np.nonzero(plane)
    box = torch.tensor([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], dtype=torch.float32)
    target = Target.empty(1, (60, 90), boxes=box, labels=torch.tensor([3]), masks=[pack(plane)])
    image = torch.from_numpy(np.repeat(np.where(plane, 255, 60)[None], 3, axis=0).astype(np.uint8))
    part, after = Elaborated(Elaborate(), EVENLY)(image, replace(target, drawn=3), VisitDraws(seed, 0, 0))
    after.check()
    assert after.labels.tolist() == [3]
    mask = mask_pixels(after.masks[0], after.size) > 0
    assert (mask != (part[0].numpy() > 160)).mean() < 0.12 * mask.mean() + 2 / mask.size
    ys, xs = np.nonzero(mask)
    assert after.boxes[0].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_long_categories_are_turned_further(monkeypatch):
    angles = {1: [], 2: [], 3: []}

    def noted(image, target, degrees, **_):
        angles[label].append(degrees)
        return image, target

    monkeypatch.setattr(elaborate, "rotate", noted)
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    turn = Elaborated(Elaborate(), EVENLY)
    for label in angles:
        own = Target.empty(1, (40, 40), boxes=torch.tensor([[10.0, 10, 20, 20]]), labels=torch.tensor([label]))
        for number in range(400):
            turn(image, replace(own, drawn=label), VisitDraws(0, 0, number))
    assert [turn.spread(label) for label in angles] == [5.0, 30.0, 45.0]
    for label, expected in zip(angles, (5.0, 30.0, 45.0), strict=True):
        assert np.std(angles[label]) == pytest.approx(expected, rel=0.12)
        assert abs(np.mean(angles[label])) < 0.2 * expected


@settings(max_examples=15, deadline=None)
@given(seed=seeds, quarters=st.integers(1, 3))
def test_a_turn_about_a_point_leaves_that_point(seed, quarters):
    rng = np.random.default_rng(seed)
    image, target, _ = random_sample(rng, size=(30, 40))
    x, y = (rng.integers(8, 44, 2) / 2).tolist()
    if (x % 1) != (y % 1):
        y += 0.5
    turned_image, turned = rotate(image, target, 90.0 * quarters, about=(x, y))
    sine, cosine = ((1, 0), (0, -1), (-1, 0))[quarters - 1]
    for row in range(30):
        for column in range(40):
            dx, dy = column + 0.5 - x, row + 0.5 - y  # back: clockwise, y points down
            source = int(np.floor(y + sine * dx + cosine * dy)), int(np.floor(x + cosine * dx - sine * dy))
            inside = 0 <= source[0] < 30 and 0 <= source[1] < 40
            assert turned.stuff[row, column] == (target.stuff[source] if inside else 255)
            assert turned_image[0, row, column] == (image[0][source] if inside else 128)


def test_memory_counts_more_than_the_smallest_scale_there_is():
    large = Shapes(EVENLY.imbalance, np.linspace(0.6, 0.9, 101), np.linspace(0, 1, 101))
    target = Target.empty(1, (100, 100), boxes=torch.tensor([[40.0, 40, 60, 60]]), labels=torch.tensor([1]))
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    part = Elaborated(replace(STILL, memory_scale=0.5), large)(image, replace(target, drawn=1), VisitDraws(0, 0, 0))[0]
    assert part.shape[1:] == (40, 40)


def test_pictures_that_were_drawn_for_no_category_stay():
    image, target, _ = random_sample(np.random.default_rng(0))
    turn = Elaborated(Elaborate(), EVENLY)
    for own in (target, replace(target, drawn=9)):
        after = turn(image, own, VisitDraws(0, 0, 0))
        assert after[0] is image
        assert after[1] is own


def test_a_training_set_applies_it():
    data = open_data("scenes:6,64,0,categories=4")
    samples = TrainSet(data, TrainData(short=(64,), long=128, sampler="full_class", elaborate=Elaborate()), 0)
    assert [type(one).__name__ for one in samples.transforms] == ["Elaborated", "Flip", "Resize"]
    order = epoch_order(data, Stream(images=4, sampler="full_class"), 0, 0)
    for image, label in order:
        one, target = samples[0, image, 0, label]
        target.check()
        assert label in target.labels
        again = samples[0, image, 0, label]
        assert torch.equal(one, again[0])
        assert torch.equal(target.boxes, again[1].boxes)
        assert samples[0, image, 0, 0][0].shape[1:] == torch.Size(fitting(data.sizes[image]))


def fitting(size):
    factor = 64 / min(size)
    return [round(side * factor) for side in size.tolist()]


@pytest.mark.parametrize(
    ("given_data", "said"),
    [
        (TrainData(elaborate=Elaborate()), "shuffle draws none.*class_aware or full_class"),
        (TrainData(elaborate=Elaborate(least=50), sampler="class_aware"), "least up to most"),
        (TrainData(elaborate=Elaborate(memory_scale=0), sampler="full_class"), "memory_scale above 0"),
    ],
)
def test_settings_are_checked(given_data, said):
    with pytest.raises(InputError, match=rf"data\.elaborate: .*{said}"):
        Model(data=given_data).validate()

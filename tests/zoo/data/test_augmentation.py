"""Rotation, InstaBoost, and strong changes of pixels."""

# ruff: noqa: E402

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("torchvision", reason="torchvision is not installed")
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.errors import InputError
from tests.zoo.data.cases import random_sample
from zoo.config import InstaBoost, Model, Rotation, Strong, TrainData, replace
from zoo.data import JoinedData, Target, TrainSet, open_data
from zoo.data.instaboost import Boosted, filled, touching
from zoo.data.masks import mask_pixels, pack
from zoo.data.rotation import Rotate, rotate
from zoo.data.strong import Strongly
from zoo.data.transforms import VisitDraws

seeds = st.integers(0, 2**32 - 1)


def target_of(size, *planes):
    """Objects of dense masks, boxes around their pixels."""
    boxes = [[float(v) for v in (x.min(), y.min(), x.max() + 1, y.max() + 1)] for y, x in map(np.nonzero, planes)]
    labels = torch.arange(1, len(planes) + 1)
    masks = [pack(plane) for plane in planes]
    return Target.empty(1, size, boxes=torch.tensor(boxes).view(-1, 4), labels=labels, masks=masks)


def dense(target):
    return np.array([mask_pixels(mask, target.size) for mask in target.masks]).reshape(-1, *target.size)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, polygons=st.booleans(), quarters=st.integers(0, 3))
def test_quarter_turns_are_those_of_numpy(seed, polygons, quarters):
    image, target, planes = random_sample(np.random.default_rng(seed), size=(40, 40), polygons=polygons)
    turned_image, turned = rotate(image, target, 90.0 * quarters)
    turned.check()
    assert np.array_equal(turned_image, np.rot90(image.numpy(), quarters, (1, 2)))
    assert np.array_equal(turned.stuff, np.rot90(target.stuff.numpy(), quarters))
    expected = np.rot90(planes.numpy(), quarters, (1, 2))
    boxes = target.boxes.numpy()
    for _ in range(quarters):
        boxes = np.stack([boxes[:, 1], 40 - boxes[:, 2], boxes[:, 3], 40 - boxes[:, 0]], axis=1)
    corners = rotate(image, target, 90.0 * quarters, by_masks=False)[1]
    assert np.allclose(corners.boxes, boxes, atol=1e-3)
    if polygons:
        assert np.allclose(turned.boxes, boxes, atol=1e-3)
        assert all((one != other).mean() < 0.1 for one, other in zip(dense(turned), expected, strict=True))
    else:
        assert np.array_equal(dense(turned), expected)
        y, x = np.nonzero(expected[0])
        assert turned.boxes[0].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


@pytest.mark.parametrize("polygon", [False, True])
def test_a_turned_ellipse_has_the_box_of_its_mask(polygon):
    """L11: by its corners the box would be [0, 19, 53, 61]."""
    middle, radii, angle = np.array((28.74, 33.5)), np.array((25.0, 10.0)), np.radians(30.0)
    if polygon:
        around = np.linspace(0, 2 * np.pi, 200, endpoint=False)
        shape = [(middle + radii * np.stack([np.cos(around), np.sin(around)], 1)).ravel().tolist()]
    else:
        y, x = np.mgrid[:80, :80] + 0.5
        shape = pack(((x - middle[0]) / radii[0]) ** 2 + ((y - middle[1]) / radii[1]) ** 2 <= 1)
    box = torch.tensor(np.concatenate([middle - radii, middle + radii]), dtype=torch.float32)[None]
    target = Target.empty(1, (80, 80), boxes=box, labels=torch.tensor([1]), masks=[shape])
    image = torch.zeros(3, 80, 80, dtype=torch.uint8)
    by_mask, by_corners = (rotate(image, target, 30.0, by_masks=masks)[1].boxes[0].numpy() for masks in (True, False))
    there = np.array(((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle)))) @ (middle - 40) + 40
    half = np.array(
        (np.hypot(25 * np.cos(angle), 10 * np.sin(angle)), np.hypot(25 * np.sin(angle), 10 * np.cos(angle)))
    )
    assert np.abs(by_mask - np.concatenate([there - half, there + half])).max() < 1
    assert np.abs(by_mask - (5, 25, 49, 55)).max() < 1.1
    assert np.abs(by_corners - (0, 19, 53, 61)).max() < 1.1


def test_objects_that_leave_the_picture_are_dropped_and_the_angle_is_within_its_limits():
    planes = np.zeros((2, 60, 120), bool)
    planes[0, 0, 0] = planes[1, 25:35, 50:70] = True
    target = target_of((60, 120), *planes)
    image = torch.full((3, 60, 120), 255, dtype=torch.uint8)
    turned_image, turned = rotate(image, target, 45.0)
    turned.check()
    assert turned.labels.tolist() == [2]
    assert turned_image[:, 0, 0].tolist() == [128] * 3
    never, always = (Rotate(Rotation(degrees=8, chance=chance)) for chance in (0.0, 1.0))
    draws = [VisitDraws(0, 0, image) for image in range(30)]
    assert all(never(image, target, one)[1] is target for one in draws)
    # the long side's half, turned by an angle a, is 60 sin(a) higher at its end
    thin = np.zeros((60, 120), bool)
    thin[30, :] = True
    heights = [always(image, target_of((60, 120), thin), one)[1].boxes[0] for one in draws]
    angles = [np.degrees(np.arcsin(min((box[3] - box[1]).item() / 120, 1))) for box in heights]
    assert max(angles) < 9.5
    assert np.ptp(angles) > 4


def disc(size, y, x, radius):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_what_instaboost_moves_is_where_its_mask_says(seed):
    size = (90, 120)
    planes = [disc(size, 40, 45, 16), disc(size, 48, 90, 12), disc(size, 8, 8, 6)]
    image = np.full((*size, 3), 40, np.uint8)
    for plane, value in zip(planes, (200, 240, 160), strict=True):
        image[plane] = value
    target = target_of(size, *planes)
    given_image = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    boost = InstaBoost(chance=1.0, colour=0.0)
    moved_image, moved = Boosted(boost)(given_image, target, VisitDraws(seed, 0, 0))
    moved.check()
    pixels = moved_image.numpy()
    assert moved.labels.tolist() == [1, 2, 3]
    masks = dense(moved) > 0
    for plane, value in zip(masks, (200, 240, 160), strict=True):
        inner = plane & (np.abs(pixels[0].astype(int) - value) <= 60)
        assert inner.sum() >= 0.85 * plane.sum()
    # nothing of the old place is left, and the hole is filled with what was around it
    far = ~np.any([np.roll(masks.any(0), shift, (0, 1)) for shift in np.ndindex(7, 7)], axis=0)
    far &= ~np.any([np.roll(masks.any(0), (-y, -x), (0, 1)) for y, x in np.ndindex(7, 7)], axis=0)
    far &= ~np.any([np.roll(masks.any(0), (y, -x), (0, 1)) for y, x in np.ndindex(7, 7)], axis=0)
    far &= ~np.any([np.roll(masks.any(0), (-y, x), (0, 1)) for y, x in np.ndindex(7, 7)], axis=0)
    assert (np.abs(pixels[:, far].astype(int) - 40) <= 1).all()
    # the one close to the border stays
    assert moved.masks[2] == target.masks[2]
    for row, (radius, y, x) in enumerate(((16, 40, 45), (12, 48, 90))):
        box = moved.boxes[row].numpy()
        rows, columns = np.nonzero(masks[row])
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert 0.78 <= (box[2] - box[0]) / (2 * radius + 1) <= 1.22
        assert np.abs((box[:2] + box[2:]) / 2 - (x + 0.5, y + 0.5)).max() <= (2 * radius + 1) / 15 + 1


def test_instaboost_moves_what_touches_together_and_nothing_by_chance_zero():
    size = (80, 120)
    one, two, three = disc(size, 40, 30, 10), disc(size, 40, 51, 10), disc(size, 40, 90, 10)
    assert touching([one, None, two, three]) == [[0, 2], [3]]
    target = target_of(size, one, two)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    still = Boosted(InstaBoost(chance=0.0))(image, target, VisitDraws(0, 0, 0))
    assert still[0] is image
    assert still[1] is target
    for seed in range(4):
        moved = Boosted(InstaBoost(chance=1.0, degrees=0.0, scale=(1.0, 1.0)))(image, target, VisitDraws(seed, 0, 0))[1]
        shifts = (moved.boxes - target.boxes).round()
        assert torch.equal(shifts[0], shifts[1])
    same = Boosted(InstaBoost(chance=1.0, shift=0.0, degrees=0.0, scale=(1.0, 1.0)))(
        image, target, VisitDraws(0, 0, 0)
    )[1]
    assert np.array_equal(dense(same), dense(target))


def test_a_hole_gets_values_between_those_around_it():
    ramp = np.repeat(np.linspace(0, 255, 60)[None, :, None], 40, axis=0).repeat(3, axis=2).astype(np.uint8)
    hole = disc((40, 60), 20, 30, 8)
    canvas = filled(ramp, hole, 5)
    assert np.array_equal(canvas[~hole], ramp[~hole])
    assert np.abs(canvas[hole] - ramp[hole]).max() < 30  # 16 columns of 4.3
    assert (np.diff(canvas[20, 23:38, 0]) > 0).all()


def test_strong_changes_are_of_the_sources_named_and_leave_annotations():
    image, target = random_sample(np.random.default_rng(0), size=(60, 50))[:2]
    draws = [VisitDraws(0, 0, number) for number in range(40)]
    strong = Strong(sources=("pseudo",))
    assert Strongly(strong)(image, target, draws[0])[0] is image
    pseudo = replace(target, source="pseudo")
    changed = [Strongly(strong)(image, pseudo, one) for one in draws]
    assert all(after is pseudo for _, after in changed)
    assert 3 <= sum(torch.equal(after, image) for after, _ in changed) + 3 <= 12
    white = torch.full((3, 60, 50), 255, dtype=torch.uint8)
    cut = Strongly(Strong(colour=0, blur=0, cutout=1))
    shares = [(cut(white, target, one)[0] == 128).float().mean().item() for one in draws]
    assert 0.015 < min(shares) < max(shares) < 0.11
    blurred = Strongly(Strong(colour=0, blur=1, sigma=(2.0, 2.0), cutout=0))(image, target, draws[0])[0]
    assert 0 < blurred.float().std() < 0.4 * image.float().std()
    tinted = Strongly(Strong(colour=1, blur=0, cutout=0))(image, target, draws[0])[0]
    assert not torch.equal(tinted, image)


def test_a_training_set_applies_them_all():
    data = open_data("scenes:4,64,0,categories=4")
    settings = TrainData(
        short=(64,), long=128, rotation=Rotation(chance=1.0), instaboost=InstaBoost(chance=1.0), strong=Strong()
    )
    plain = TrainSet(data, replace(settings, rotation=None, instaboost=None, strong=None), 0)
    kinds = [type(one).__name__ for one in TrainSet(data, settings, 0).transforms]
    assert kinds == ["Boosted", "Flip", "Resize", "Rotate"]
    for index in range(4):
        image, target = TrainSet(data, settings, 0)[0, index]
        target.check()
        assert not torch.equal(image, plain[0, index][0])
        again = TrainSet(data, settings, 0)[0, index]
        assert torch.equal(image, again[0])
        assert torch.equal(target.boxes, again[1].boxes)


def test_each_picture_of_a_mosaic_is_changed_by_its_own_source():
    sets = [open_data(f"scenes:3,64,{seed},categories=4,name={name}") for seed, name in enumerate(("own", "pseudo"))]
    data = JoinedData(sets)
    strong = Strong(sources=("pseudo",), colour=0, blur=0, cutout=1, area=(0.5, 0.5))
    joined = TrainSet(data, TrainData(short=(64,), long=64, mosaic=1.0, strong=strong, flip=0.0), 0)
    same = TrainSet(data, TrainData(short=(64,), long=64, mosaic=1.0, flip=0.0), 0)
    changed = {True: 0, False: 0}
    for index in range(6):
        partners = joined.mixtures[0].partners(VisitDraws(0, 0, index))
        one, other = (samples[0, index][0] for samples in (joined, same))
        height, width = (side // 2 for side in one.shape[1:])
        for place, picture in enumerate([index, *partners]):
            rows = slice(0, height - 2) if place < 2 else slice(height + 2, None)
            columns = slice(0, width - 2) if place % 2 == 0 else slice(width + 2, None)
            differs = not torch.equal(one[:, rows, columns], other[:, rows, columns])
            assert differs == (picture >= 3)
            changed[differs] += 1
    assert min(changed.values()) > 3
    with pytest.raises(InputError, match=r"strong\.sources.*no data set is named 'pseudo'.*There are own"):
        TrainSet(sets[0], TrainData(strong=strong), 0)


@pytest.mark.parametrize(
    "given",
    [
        {"mosaic": 1.5},
        {"rotation": Rotation(chance=-0.1)},
        {"instaboost": InstaBoost(scale=(1.2, 0.8))},
        {"strong": Strong(sigma=(0.0, 1.0))},
    ],
)
def test_chances_and_ranges_are_checked(given):
    with pytest.raises(InputError, match=rf"data\.{next(iter(given))}"):
        Model(data=TrainData(**given)).validate()

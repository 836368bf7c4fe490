"""Samples made of several pictures, and data selected by category."""

# ruff: noqa: E402

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("torchvision", reason="torchvision is not installed")
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.errors import InputError
from tests.zoo.data.cases import random_sample
from zoo.config import TrainData
from zoo.data import JoinedData, TrainSet, open_data
from zoo.data.masks import mask_pixels
from zoo.data.mixtures import Mosaic
from zoo.data.transforms import VisitDraws, resize


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), polygons=st.booleans())
def test_a_mosaic_has_each_picture_with_its_objects_in_its_quarter(seed, polygons):
    rng = np.random.default_rng(seed)
    samples = [random_sample(rng, objects=int(rng.integers(0, 4)), polygons=polygons)[:2] for _ in range(4)]
    samples[0][1].drawn = 3
    image, target = Mosaic(1.0, np.ones(9)).join(samples, VisitDraws(0, 0, 0))
    target.check()
    height, width = samples[0][1].size
    assert image.shape[1:] == target.size == (2 * height, 2 * width)
    assert (target.drawn, target.image_id) == (3, 1)
    at = 0
    for place, (own_image, own) in enumerate(samples):
        factor = min(height / own.size[0], width / own.size[1])
        size = tuple(max(1, round(side * factor)) for side in own.size)
        small, scaled = resize(own_image, own, size)
        top, left = (height - size[0] if place < 2 else height), (width - size[1] if place % 2 == 0 else width)
        assert torch.equal(image[:, top : top + size[0], left : left + size[1]], small)
        assert torch.equal(target.stuff[top : top + size[0], left : left + size[1]], scaled.stuff)
        rows = slice(at, at + len(own.boxes))
        assert torch.allclose(target.boxes[rows], scaled.boxes + torch.tensor([left, top] * 2))
        for mask, before in zip(target.masks[rows], scaled.masks, strict=True):
            found = mask_pixels(mask, target.size)
            if not polygons:
                assert np.array_equal(found[top : top + size[0], left : left + size[1]], mask_pixels(before, size))
            outside = found.copy()
            outside[max(top - 1, 0) : top + size[0] + 1, max(left - 1, 0) : left + size[1] + 1] = 0
            assert not outside.any()
        at += len(own.boxes)
    assert len(target.boxes) == len(target.masks) == at


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_balanced_mosaic_is_a_part_of_four_pictures_at_one_scale(seed):
    rng = np.random.default_rng(seed)
    samples = [random_sample(rng, objects=2) for _ in range(4)]
    (height, width) = samples[0][1].size
    image, target = Mosaic(1.0, np.ones(9), common_scale=True).join(
        [sample[:2] for sample in samples], VisitDraws(seed, 1, 2)
    )
    target.check()
    assert image.shape[1:] == target.size == target.original_size == (height, width)
    # all pictures around the origin of a plane, then the place of the part is looked for
    plane, at = np.full((3, 120, 120), 128, np.uint8), 60
    objects, stuff = [], np.full((120, 120), 255, np.uint8)
    for place, (pixels, own, dense) in enumerate(samples):
        h, w = own.size
        rows = slice(at - h, at) if place < 2 else slice(at, at + h)
        columns = slice(at - w, at) if place % 2 == 0 else slice(at, at + w)
        plane[:, rows, columns] = pixels
        stuff[rows, columns] = own.stuff
        shift = np.array([columns.start, rows.start] * 2)
        for label, box, mask in zip(own.labels, own.boxes.numpy(), dense.numpy(), strict=True):
            drawn = np.zeros((120, 120), np.uint8)
            drawn[rows, columns] = mask
            objects.append((int(label), box + shift, drawn))
    found = image.numpy()
    places = [
        (top, left)
        for top in range(at - height, at + 1)
        for left in range(at - width, at + 1)
        if np.array_equal(plane[:, top : top + height, left : left + width], found)
    ]
    assert len(places) == 1
    ((top, left),) = places
    assert np.array_equal(stuff[top : top + height, left : left + width], target.stuff)
    expected = []
    for label, box, drawn in objects:
        inside = (box - (left, top, left, top)).clip(0, (width, height, width, height))
        mask = drawn[top : top + height, left : left + width]
        if mask.any():
            expected.append((label, inside, mask))
    assert target.labels.tolist() == [label for label, _, _ in expected]
    assert np.allclose(target.boxes.numpy(), [box for _, box, _ in expected] or np.zeros((0, 4)), atol=1e-4)
    for mask, (_, _, own) in zip(target.masks, expected, strict=True):
        assert np.array_equal(mask_pixels(mask, target.size), own)


def test_partners_come_in_proportion_and_by_chance():
    factors = np.array([1.0, 3.0, 0.0, 4.0])
    mosaic = Mosaic(0.5, factors)
    drawn = [mosaic.partners(VisitDraws(0, epoch, 0)) for epoch in range(2000)]
    assert {len(images) for images in drawn} == {0, 3}
    assert np.mean([bool(images) for images in drawn]) == pytest.approx(0.5, abs=0.05)
    counts = np.bincount([image for images in drawn for image in images], minlength=4)
    assert np.allclose(counts / counts.sum(), factors / 8, atol=0.03)
    assert counts[2] == 0
    assert drawn == [mosaic.partners(VisitDraws(0, epoch, 0)) for epoch in range(2000)]


def test_lists_of_labels_hold_for_all_pictures():
    samples = [random_sample(np.random.default_rng(n), objects=1)[:2] for n in range(4)]
    for number, (_, target) in enumerate(samples):
        target.neg_classes = torch.tensor([5, 6 + number])
        target.not_exhaustive = torch.tensor([number])
        target.loss_weight = float(number)
    target = Mosaic(1.0, np.ones(4)).join(samples, VisitDraws(0, 0, 0))[1]
    assert target.neg_classes.tolist() == [5]
    assert target.not_exhaustive.tolist() == [0, 1, 2, 3]
    assert target.loss_weight == 1.5
    samples[2][1].masks = samples[1][1].stuff = None
    target = Mosaic(1.0, np.ones(4)).join(samples, VisitDraws(0, 0, 0))[1]
    assert target.masks is None
    assert target.stuff is None
    target.check()


def test_training_samples_are_mosaics_as_often_as_asked_for():
    data = open_data("scenes:6,64,0,categories=4")
    plain, mixed = (TrainSet(data, TrainData(short=(64,), long=128, mosaic=chance), 0) for chance in (0.0, 1.0))
    objects = [len(plain[0, image][1].boxes) for image in range(6)]
    image, target = mixed[0, 2, 0, 3, 1]
    partners = mixed.mixtures[0].partners(VisitDraws(0, 0, 2, 0, 1))
    assert len(target.boxes) + len(target.ignore_boxes) >= objects[2]
    assert len(partners) == 3
    assert (target.drawn, target.stream) == (3, 1)
    factors = [
        TrainSet(data, TrainData(mosaic=1.0, mosaic_kind=kind), 0).mixtures[0] for kind in ("shuffle", "balanced")
    ]
    assert (factors[0].factors == 1).all()
    assert [one.common_scale for one in factors] == [False, True]
    again, same = mixed[0, 2, 0, 3, 1]
    assert torch.equal(image, again)
    assert torch.equal(target.boxes, same.boxes)


def test_data_of_some_categories():
    whole, part = (
        open_data("scenes:30,64,0,categories=6"),
        open_data("scenes:30,64,0,categories=6,having=5+6,name=rare"),
    )
    start, category = whole.image_categories
    wanted = [i for i in range(30) if {4, 5} & set(category[start[i] : start[i + 1]].tolist())]
    assert 0 < len(part) == len(wanted) < 30
    assert part.image_ids == [whole.image_ids[i] for i in wanted]
    assert part.category_ids.tolist() == whole.category_ids.tolist()
    assert part.sizes.tolist() == whole.sizes[wanted].tolist()
    assert part.truth.image_id.tolist() == part.image_ids
    assert part.fingerprint != whole.fingerprint
    for place, index in enumerate(wanted):
        own = part.image_categories
        assert (
            own.category[own.start[place] : own.start[place + 1]].tolist()
            == category[start[index] : start[index + 1]].tolist()
        )
        assert torch.equal(part.load(place)[0], whole.load(index)[0])
        assert torch.equal(part.load(place)[1].boxes, whole.load(index)[1].boxes)
    assert len(JoinedData([whole, part])) == 30 + len(part)
    with pytest.raises(InputError, match="has no category 7"):
        open_data("scenes:30,64,0,categories=6,having=7")
    with pytest.raises(InputError, match=r"ids of categories such as 3\+7"):
        open_data("scenes:30,64,0,categories=6,having=cat")

"""Segmentation of boxes: objects cut out, a network that tells them from their background, masks put back."""

# ruff: noqa: E402

import dataclasses
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from fusion.errors import InputError
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable
from tests.zoo.nn.cases import CLASSES, scene
from zoo.checkpoint import load_weights
from zoo.config import Crop, Elaborate, Infer, replace
from zoo.crop_network import paste_back
from zoo.data import AnnotatedImages, TrainSet, open_data
from zoo.data.crops import CroppedData, CutOut, cut_out, region_of
from zoo.data.masks import mask_box, mask_pixels, unpack
from zoo.data.transforms import VisitDraws
from zoo.data.views import View
from zoo.models import build
from zoo.nn.detections import Detections
from zoo.predict import predict
from zoo.registry import find
from zoo.train import train

FULL = find("mm_hrnet_256").make()
TINY = find("mm_hrnet_256").make("tiny")
SCENES = "scenes:6,64,0,categories=4,split=val"


def disc(size, x, y, radius):
    rows, columns = (np.arange(n) + 0.5 for n in size)
    return (columns[None] - x) ** 2 + (rows[:, None] - y) ** 2 <= radius**2


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def white(batch):
    """In place of the network: logits that say what is white."""
    return torch.stack([-batch[:, 0], batch[:, 0]], 1)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_what_was_cut_out_comes_back_to_its_place(data):
    size = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    x, y = (data.draw(st.floats(-10, n + 10, width=32)) for n in (size[1], size[0]))
    w, h = (data.draw(st.floats(0.0625, 30, width=32)) for _ in range(2))
    truth = np.random.default_rng(data.draw(st.integers(0, 99))).random(size) < 0.5
    top, left, height, width = region_of((x, y, x + w, y + h), size)
    touched = np.zeros(size, bool)
    touched[max(floor(y), 0) : max(ceil(y + h), 0), max(floor(x), 0) : max(ceil(x + w), 0)] = True
    assert touched.any() == (height > 0 and width > 0)
    if touched.any():
        part = torch.from_numpy(truth[top : top + height, left : left + width])
        found = unpack(paste_back(part.float(), (top, left, height, width), size, 0.5)) > 0
        assert np.array_equal(found, truth & touched)


@pytest.mark.parametrize(("square", "view"), [(False, View(250, 550)), (False, View(24, 60)), (True, View(112, 112))])
def test_a_disc_is_found_where_it_lies_whatever_the_size_of_its_crop(square, view, monkeypatch):
    config = replace(TINY, data=replace(TINY.data, crop=Crop(square=square, pad=0.1)))
    net = build(config, 2, pretrained=False).eval()
    monkeypatch.setattr(net, "logits", white)
    size = (90, 130)
    discs = [disc(size, 40.3, 50.8, 17.2), disc(size, 118.5, 12, 30), disc(size, 88, 70.5, 6.5)]
    for truth in discs:
        image = torch.from_numpy(truth).float().expand(3, *size)
        x1, y1, x2, y2 = mask_box(truth)
        boxes = torch.tensor([[x1, y1, x2, y2], [x1 - 0.4, y1 - 0.3, x2 + 0.2, y2 + 5.0]])
        for flip in (False, True):
            net.config = replace(config, infer=Infer(flip=flip))
            (found,) = net([image], None, [Detections(boxes, torch.ones(2), torch.ones(2))], view)
            for mask in found.masks:
                assert mask["size"] == list(size)
                assert iou(unpack(mask) > 0, truth) > 0.97


def test_a_box_without_a_pixel_has_an_empty_mask_and_equal_boxes_have_one():
    net = build(TINY, 2, pretrained=False).eval()
    boxes = torch.tensor([[5.0, 5, 20, 20], [70, 5, 80, 9], [5, 5, 20, 20], [9, 9, 9, 9]])
    asked = Detections(boxes, torch.rand(4), torch.tensor([1, 1, 2, 1]))
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    image = torch.rand(3, 40, 64)
    with torch.no_grad():
        found, none = net([image, image], None, [asked, nothing])
    assert torch.equal(found.boxes, boxes)
    assert torch.equal(found.scores, asked.scores)
    assert torch.equal(found.labels, asked.labels)
    assert found.masks[0] == found.masks[2]
    assert not unpack(found.masks[1]).any()
    assert not unpack(found.masks[3]).any()
    assert none.masks == []
    with pytest.raises(InputError, match="takes boxes, got none"):
        net([image])


def test_channels_and_sizes():
    assert build(FULL, 2, "meta").backbone.channels == (48, 96, 192, 384)
    net = build(TINY, 2, pretrained=False)
    assert net.mix[0].in_channels == net.mix[0].out_channels == sum(net.backbone.channels) == 15 * 16
    assert net.logits(torch.zeros(2, 3, 32, 96)).shape == (2, 2, 32, 96)
    for config, where in (
        (replace(TINY, data=replace(TINY.data, crop=None)), "data.crop"),
        (replace(TINY, data=replace(TINY.data, mosaic=0.5)), "data.mosaic"),
    ):
        with pytest.raises(InputError) as found:
            config.validate("cpu")
        assert found.value.where == where


def test_every_object_with_a_mask_is_a_sample():
    data = open_data(SCENES, "scenes:3,64,1,categories=4,groups=0.5,name=more")
    crops = cut_out(data, Crop(), 0)
    whole = [data.load(index)[1] for index in range(len(data))]
    assert len(crops) == sum(len(target.boxes) for target in whole)
    assert [len(part) for part in crops.parts] == [
        sum(len(target.boxes) for target in whole if target.source == part.name) for part in data.parts
    ]
    place = 0
    for number, target in enumerate(whole):
        picture = data.load(number)[0]
        for box, label, mask in zip(target.boxes, target.labels, target.masks, strict=True):
            image, own = crops.load(place)
            assert own.image_id == target.image_id
            assert own.labels.tolist() == [label] == [int(crops.image_categories.category[place]) + 1]
            (corners,) = own.boxes.tolist()
            top, left, height, width = region_of(corners, own.size)
            x1, y1, x2, y2 = box.tolist()
            y, x = floor(y1), floor(x1)
            assert torch.equal(
                image[:, top : top + height, left : left + width], picture[:, y : ceil(y2), x : ceil(x2)]
            )
            inside = mask_pixels(own.masks[0], own.size)[top : top + height, left : left + width]
            assert np.array_equal(inside, mask_pixels(mask, target.size)[y : ceil(y2), x : ceil(x2)])
            assert crops.sizes[place].tolist() == [ceil(y2 - y1 - 1e-5), ceil(x2 - x1 - 1e-5)]
            place += 1
    for part in crops.parts:
        assert part.truth.xywh[:, 2:].tolist() == part.sizes[:, ::-1].tolist()
    some = cut_out(data, Crop(objects=7), 0)
    assert len(some) == 7
    assert len(cut_out(data, Crop(objects=7000), 0)) == len(crops)
    blind = AnnotatedImages(dataclasses.replace(data.parts[0].truth, segmentation=None), None, name="blind")
    with pytest.raises(InputError, match="no segmentation of any object"):
        cut_out(blind, Crop(), 0)


def test_a_turned_object_is_cut_out_by_its_turned_mask_at_the_sizes_of_the_report():
    data = open_data("scenes:3,64,0,categories=4")
    report = find("mm_hrnet_200_300").make().data
    wanted = replace(report, elaborate=Elaborate(least=30.0), flip=0.0)
    samples = TrainSet(cut_out(data, wanted.crop, 0), wanted, 0)
    shorts = set()
    for index in range(len(samples)):
        image, target = samples[0, index]
        height, width = target.size
        assert tuple(image.shape) == (3, height, width)
        assert 200 <= min(height, width) <= 300 or max(height, width) == 600
        shorts.add(min(height, width))
        x1, y1, x2, y2 = mask_box(mask_pixels(target.masks[0], target.size))
        edge = 0.02 * max(height, width) + 3
        assert max(x1, y1, width - x2, height - y2) <= edge
    assert len(shorts) > 3
    part = CutOut()
    image, target = data.load(0)
    target = replace(target, boxes=target.boxes[:1], labels=target.labels[:1], masks=target.masks[:1])
    x1, y1, x2, y2 = target.boxes[0].tolist()
    found = torch.tensor([[x1 - 3.0, y1 + 2, x2 + 1, y2 + 4], [x2, y1, x2 + 9, y2], [0, 0, 64, 64]])
    target = replace(target, proposals=found)
    cut, own = part(image, target, VisitDraws(0, 0, 0))  # by the only one that is near enough
    top, left, height, width = region_of(found[0].tolist(), target.size)
    assert torch.equal(cut, image[:, top : top + height, left : left + width])
    assert own.size == (height, width)
    square = find("mm_hrnet_112").make().data
    assert TrainSet(cut_out(data, square.crop, 0), square, 0)[0, 0][1].size == (112, 112)


def learned(config, steps=40):
    torch.manual_seed(0)
    net = build(config, CLASSES, pretrained=False).train()
    image, target = scene(1)
    crops = []
    for box, mask in zip(target.boxes, target.masks, strict=True):
        top, left, height, width = region_of(box.tolist(), target.size)
        part = torch.nn.functional.interpolate(image[None, :, top : top + height, left : left + width], (48, 48))[0]
        inside = mask_pixels(mask, target.size)[top : top + height, left : left + width]
        crops.append((part, paste_back(torch.from_numpy(inside.copy()).float(), (0, 0, 48, 48), (48, 48), 0.5)))
    targets = [replace_masks(target, number, mask) for number, (_, mask) in enumerate(crops)]
    optimizer = torch.optim.SGD(net.parameters(), 0.05, 0.9)
    for _ in range(steps):
        loss = net([part for part, _ in crops], targets)["mask"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval(), image, target


def replace_masks(target, number, mask):
    return replace(target, masks=[mask], boxes=target.boxes[[number]], labels=target.labels[[number]], size=(48, 48))


def test_crops_by_heart():
    net, image, target = learned(TINY)
    asked = Detections(target.boxes, torch.ones(3), target.labels)
    with torch.no_grad():
        (found,) = net([image], [target], [asked], View(48, 96))
        with torch.autocast("cpu", torch.bfloat16):
            (half,) = net([image], [target], [asked], View(48, 96))
    for own, other, mask in zip(found.masks, half.masks, target.masks, strict=True):
        truth = mask_pixels(mask, target.size) > 0
        assert iou(unpack(own) > 0, truth) >= 0.75
        assert iou(unpack(other) > 0, truth) >= 0.75


def test_a_training_resumes_to_the_same_bits_and_a_table_gets_masks(tmp_path, monkeypatch):
    few = replace(TINY.train, steps=4, batch=2, warmup_steps=1, checkpoint_steps=2)
    config, scenes = replace(TINY, train=few), open_data("scenes:2,64,0,categories=3")
    folder = tmp_path / "crops"
    run = train(config, scenes, folder, variant="mm_hrnet_256:tiny")
    assert run.images > 2
    load, left = CroppedData.load, [6]

    def crash(self, index):
        left[0] -= 1
        if not left[0]:
            raise OSError("power")
        return load(self, index)

    monkeypatch.setattr(CroppedData, "load", crash)
    with pytest.raises(OSError, match="power"):
        train(config, scenes, tmp_path / "cut")
    monkeypatch.setattr(CroppedData, "load", load)
    train(config, scenes, tmp_path / "cut", resume=True)
    one, other = load_weights(folder), load_weights(tmp_path / "cut")
    assert all(torch.equal(one[name], other[name]) for name in one)
    data = open_data(SCENES)  # of other categories
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 40, (20, 2))
    boxes = DetectionTable.from_arrays(
        image_id=rng.integers(1, 6, 20),
        category_id=rng.integers(1, 5, 20),
        score=rng.random(20),
        xywh=np.column_stack([corner, rng.uniform(5, 20, (20, 2))]),
    )
    write_table(boxes, tmp_path / "boxes.parquet")
    with pytest.raises(InputError, match=r"none were given.*boxes"):
        predict(folder, data, tmp_path / "out.parquet")
    predict(folder, data, tmp_path / "out.parquet", boxes=tmp_path / "boxes.parquet")
    predict(
        folder,
        data,
        tmp_path / "flip.parquet",
        boxes=tmp_path / "boxes.parquet",
        settings={"infer.flip": True},
        views=(View(48, 96), View(64, 96)),
    )
    given, found = read_table(tmp_path / "boxes.parquet"), read_table(tmp_path / "out.parquet")
    assert found.mask is not None
    for name in given.arrow.column_names:
        assert given.arrow[name].equals(found.arrow[name])
    twice = read_table(tmp_path / "flip.parquet")
    assert twice.metadata.member == "boxes+crops-flip"
    assert len(twice) == 40

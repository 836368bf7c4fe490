"""Models that are no two-stage detectors: a box refiner, from its config to the table that it has mended."""

# ruff: noqa: E402

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from fusion.errors import InputError
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable
from tests.zoo.nn.cases import CLASSES, batch
from zoo.cards import member_card
from zoo.config import Model, Refiner, diff, read_model, replace
from zoo.data import open_data
from zoo.data.mixtures import joined_target
from zoo.data.rotation import rotate
from zoo.data.transforms import crop, flip, resize
from zoo.models import build
from zoo.nn.detections import Detections
from zoo.nn.geometry import pair_iou
from zoo.predict import predict
from zoo.scale import tiny
from zoo.store import Member
from zoo.train import train

TINY = tiny(Refiner())


def model():
    torch.manual_seed(0)
    return build(TINY, CLASSES, pretrained=False)


def shaken(target, seed=0):
    noise = 4 * torch.randn(target.boxes.shape, generator=torch.Generator().manual_seed(seed))
    return Detections(target.boxes + noise, torch.tensor([0.3, 0.9, 0.5]), target.labels)


def test_any_model_is_read_by_its_kind():
    for config in (TINY, tiny(Model()), Refiner()):
        assert read_model(json.loads(json.dumps(config.to_dict()))) == config
    assert read_model({}) == Model()
    assert set(diff(Model(), Refiner())) == {""}
    with pytest.raises(InputError, match="one of Model, Refiner, CropSegmenter, got 'Refinery'"):
        read_model({"kind": "Refinery"})
    with pytest.raises(InputError, match="Refiner has no such field"):
        read_model({"kind": "Refiner", "rpn": {}})
    with pytest.raises(InputError, match=r"cascade\.std"):
        replace(TINY, cascade=replace(TINY.cascade, std=())).validate()


def test_every_weight_learns_from_boxes_and_none_without():
    net = model().train()
    losses = net(*batch(1, 2))
    assert set(losses) == {"box_0", "box_1", "box_2"}
    sum(losses.values()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in net.parameters())
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "masks": []}
    assert all(loss.item() == 0 for loss in net(*batch(1, **nothing)).values())


def test_boxes_come_nearer_to_their_objects_and_nothing_else_changes():
    net = model()
    images, targets = batch(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for _ in range(60):
        loss = sum(net.train()(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
    targets[0].original_size = (256, 384)  # on disk; the model sees 128 x 128
    scale = torch.tensor([3.0, 2.0, 3.0, 2.0])
    before, after = [], []
    for seed in range(5):
        given = shaken(targets[0], seed)
        given.boxes *= scale
        with torch.no_grad():
            (found,) = net.eval()(images, targets, [given])
        assert torch.equal(found.scores, given.scores)
        assert torch.equal(found.labels, given.labels)
        before.append(pair_iou(given.boxes / scale, targets[0].boxes))
        after.append(pair_iou(found.boxes / scale, targets[0].boxes))
    assert torch.cat(after).mean() > torch.cat(before).mean() + 0.05


def test_it_learns_from_what_detectors_have_found(tmp_path):
    data = open_data("scenes:4,64,0,categories=4")
    before = [data.load(index)[1] for index in range(4)]
    corner = before[1].boxes[0].numpy() + np.float32([1, 2, 3, -2])
    boxes = np.array([[0, 0, 9, 9], [*corner[:2], *(corner[2:] - corner[:2])]])
    found = DetectionTable.from_arrays(image_id=[4, 2], category_id=[77, 77], score=[1.0, 0.5], xywh=boxes)
    write_table(found, tmp_path / "found.parquet")
    data = open_data(f"scenes:4,64,0,categories=4,found={tmp_path}/found.parquet")
    targets = [data.load(index)[1] for index in range(4)]
    assert [len(target.proposals) for target in targets] == [0, 1, 0, 1]
    assert targets[1].proposals[0].tolist() == pytest.approx(corner.tolist())
    assert data.fingerprint != open_data("scenes:4,64,0,categories=4").fingerprint
    image, target = data.load(1)
    target = replace(target, boxes=target.boxes[:1].clone(), proposals=target.boxes[:1])  # moved with the objects
    for change in (
        lambda: flip(image, target),
        lambda: resize(image, target, (90, 31)),
        lambda: crop(image, target, 1, 2, 50, 40),
        lambda: rotate(image, target, 20.0, by_masks=False),
        lambda: (image, joined_target([target, target], [(0, 0), (64, 9)], (128, 90))),
    ):
        changed = change()[1]
        assert torch.equal(changed.proposals, changed.boxes)
    # without shaken copies the proposals alone decide where it learns
    net = build(replace(TINY, copies=0), CLASSES, pretrained=False).train()
    images, targets = batch(1)
    targets[0].proposals = shaken(targets[0]).boxes
    alone = net(*batch(1))["box_0"]
    net.passes.zero_()
    assert net(images, targets)["box_0"] > alone
    other = DetectionTable.from_arrays(image_id=[9], category_id=[1], score=[1.0], xywh=[[0, 0, 9, 9]])
    write_table(other, tmp_path / "other.parquet")
    with pytest.raises(InputError, match="nothing was found in any of its images"):
        open_data(f"scenes:4,64,0,found={tmp_path}/other.parquet")


def test_it_takes_boxes():
    images, targets = batch(1)
    with pytest.raises(InputError, match="takes boxes, got none"):
        model().eval()(images, targets)
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert len(model().eval()(images, targets, [none])[0]) == 0


def test_a_table_is_mended_by_the_command_that_predicts(tmp_path):
    config = replace(TINY, train=replace(TINY.train, segments=(), steps=2, batch=2, warmup_steps=1))
    config = replace(config, infer=replace(config.infer, short=(64,), long=64), data=replace(config.data, short=(64,)))
    data = open_data("scenes:5,64,0,categories=4,split=val")
    folder = tmp_path / "refiner"
    train(config, data, folder, variant="mine")
    assert "refiner" in member_card(Member.read(folder))
    rng = np.random.default_rng(0)
    given = DetectionTable.from_arrays(
        image_id=rng.integers(1, 6, 20),
        category_id=rng.integers(1, 5, 20),
        score=rng.random(20),
        xywh=np.column_stack([rng.uniform(0, 40, (20, 2)), rng.uniform(5, 20, (20, 2))]),
    )
    write_table(given, tmp_path / "given.parquet")
    with pytest.raises(InputError, match=r"none were given.*boxes"):
        predict(folder, data, tmp_path / "out.parquet")
    predict(folder, data, tmp_path / "out.parquet", boxes=tmp_path / "given.parquet")
    given, found = read_table(tmp_path / "given.parquet"), read_table(tmp_path / "out.parquet")
    for name in ("score", "category_id"):
        assert np.array_equal(given.column(name), found.column(name))
    assert found.column("x").dtype == given.column("x").dtype
    assert not np.array_equal(given.column("x"), found.column("x"))

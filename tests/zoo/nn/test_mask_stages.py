"""Mask heads that take turns with box heads."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from fusion.errors import InputError
from tests.zoo.nn.cases import CLASSES, batch
from tests.zoo.nn.test_heads import TWO
from zoo.config import FCHead, MaskHead, MaskIoU, Model, replace
from zoo.models import build
from zoo.nn.geometry import as_regions, box_iou
from zoo.scale import tiny

EACH = tiny(Model(head=FCHead(class_agnostic=True), cascade=TWO, mask=MaskHead(stages="each", iou=MaskIoU(convs=2))))


FLOW = replace(EACH, mask=replace(EACH.mask, flow=True))


def model(config=EACH):
    torch.manual_seed(0)
    return build(config, CLASSES, pretrained=False)


def test_each_stage_has_a_head_and_losses_of_its_own():
    net = model().train()
    losses = net(*batch(1, 2))
    assert {name for name in losses if name.startswith("mask")} == {"mask_0", "mask_1", "mask_iou_1"}
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "masks": []}
    losses = net(*batch(1, **nothing))
    assert losses["mask_1"].item() == 0


def test_a_mask_head_is_trained_on_what_its_box_head_has_refined(monkeypatch):
    net = model().train()
    images, targets = batch(1)
    seen = []
    for stage in net.masks.stages:
        monkeypatch.setattr(stage, "losses", lambda pyramid, regions, targets, before: seen.append(regions) or {})
    stages = []
    train_stages = net.boxes.train_stages
    monkeypatch.setattr(net.boxes, "train_stages", lambda *given: stages.extend(train_stages(*given)) or iter(stages))
    net(images, targets)
    assert len(seen) == len(stages) == 2
    for iou, regions, stage in zip(TWO.iou, seen, stages, strict=True):
        own = regions.only(~regions.added)
        refined = {tuple(box) for box in stage.boxes[0].tolist()}
        assert {tuple(box) for box in own.rois[:, 1:].tolist()} <= refined
        assert len(own) > 0
        best = box_iou(targets[0].boxes, regions.rois[:, 1:]).amax(0)
        assert torch.equal(regions.labels > 0, best >= iou)  # assigned anew


def test_masks_are_the_mean_of_the_stages():
    net = model().eval()
    images, targets = batch(1)
    pyramid = net.features(net._batch(images)[0]).masks
    rois, labels = as_regions([targets[0].boxes]), targets[0].labels
    with torch.no_grad():
        found = net.masks(pyramid, rois, labels).logits.sigmoid()
        each = [stage(pyramid, rois, labels).logits.sigmoid() for stage in net.masks.stages]
        answers = net(images, targets)
    assert torch.allclose(found, (each[0] + each[1]) / 2, atol=1e-5)
    assert not torch.allclose(each[0], each[1])
    assert all(len(own.masks) == len(own) and own.mask_scores is not None for own in answers)


def test_a_head_is_given_what_the_one_before_makes_of_its_own_features():
    net = model(FLOW)
    first, second = net.masks.stages
    assert first.inflow is None
    images, targets = batch(1)
    pyramid = net.features(net._batch(images)[0]).masks
    rois, labels = as_regions([targets[0].boxes]), targets[0].labels
    with torch.no_grad():
        pooled = second.pool(pyramid, rois)
        before = first.head.convs(pooled)
        expected, _ = second.head(second.head.convs(pooled + second.inflow(before)), labels)
        found = second(pyramid, rois, labels, None, [first]).logits
        both = net.masks(pyramid, rois, labels).logits.sigmoid()
        alone = first(pyramid, rois, labels).logits.sigmoid()
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(both, (alone + expected.sigmoid()) / 2, atol=1e-5)


def test_the_loss_of_a_head_reaches_the_one_before():
    for config, reached in ((EACH, False), (FLOW, True)):
        net = model(config).train()
        net(*batch(1, 2))["mask_1"].backward()
        gradient = net.masks.stages[0].head.convs[0].weight.grad
        assert (gradient is not None and bool(gradient.abs().sum() > 0)) == reached


def test_one_head_has_none_before_it():
    with pytest.raises(InputError, match=r"mask\.flow"):
        build(replace(FLOW, mask=replace(FLOW.mask, stages="first")), CLASSES, pretrained=False)

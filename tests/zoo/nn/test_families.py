"""The checks of whole models on the two families for long tails, each once: what is odd in their input or precision.

`test_two_stage` has the same for parts. Here one variant stands for its family, the one in which most parts meet: all
others are these without something, and `test_numbers` trains every one.
"""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from safetensors.torch import load_file, save_file

from tests.zoo.nn.cases import CLASSES, batch
from tests.zoo.nn.test_two_stage import backward
from zoo.config import replace
from zoo.models import build
from zoo.registry import find

FAMILIES = ("lt_s101_gs_hm", "ab_double")  # ResNeSt, fine masks; recursive pyramid, double heads and classifiers


def model(name, seed=0):
    torch.manual_seed(seed)
    config = find(name).make("tiny")
    return build(replace(config, infer=replace(config.infer, score=0.0)), CLASSES, pretrained=False)


@pytest.fixture(scope="module", params=FAMILIES)
def net(request):
    return model(request.param)


def test_images_without_objects_with_ignored_ones_with_labels_alone_and_with_a_pixel(net):
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "masks": None}
    odd = (
        nothing,
        nothing | {"ignore_boxes": torch.tensor([[0.0, 0, 128, 128]])},
        nothing | {"image_labels": torch.ones(CLASSES, dtype=torch.bool)},
        {
            "boxes": torch.tensor([[5.0, 5, 6, 6]]),
            "labels": torch.tensor([1]),
            "masks": [[[5.0, 5, 6, 5, 6, 6, 5, 6]]],
        },
    )
    given = [batch(number, size=(64, 96), **own) for number, own in enumerate(odd, 1)]
    backward(net, [image for images, _ in given for image in images], [target for _, own in given for target in own])
    backward(net, *batch(1, size=(64, 96), **nothing))


def test_images_without_proposals(net, monkeypatch):
    monkeypatch.setattr(net.rpn, "propose", lambda *_: [torch.zeros(0, 4)] * 2)
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "masks": []}
    images, targets = batch(1, 2, size=(64, 96), **nothing)
    backward(net, images, targets)
    with torch.no_grad():
        assert [len(own) for own in net.eval()(images)] == [0, 0]


def test_detections_masks_of_given_boxes_and_saved_weights(net, tmp_path, request):
    images, targets = batch(1, size=(64, 96))
    targets[0].original_size = (128, 192)
    with torch.no_grad():
        own = net.eval()(images, targets)[0]
        again = net(images, targets, [own])[0]
        save_file(net.state_dict(), tmp_path / "model.safetensors")
        other = model(request.node.callspec.params["net"], seed=5)
        other.load_state_dict(load_file(tmp_path / "model.safetensors"))
        saved = other.eval()(images, targets)[0]
    assert 0 < len(own) <= 50
    assert own.boxes.dtype == own.scores.dtype == torch.float32
    assert own.boxes.min() >= 0
    assert (own.boxes <= torch.tensor([192.0, 128, 192, 128]) + 1e-3).all()
    assert (own.scores[:-1] >= own.scores[1:]).all()
    assert ((own.scores >= 0) & (own.scores <= 1)).all()
    assert [mask["size"] for mask in own.masks] == [[128, 192]] * len(own)
    for field in ("boxes", "scores", "labels"):
        assert torch.equal(getattr(again, field), getattr(own, field))
        assert torch.equal(getattr(saved, field), getattr(own, field))
    assert again.masks == saved.masks == own.masks


def test_bfloat16(net):
    images, targets = batch(1, 2, size=(64, 96))
    with torch.autocast("cpu", torch.bfloat16):
        losses = net.train()(images, targets)
    net.zero_grad()
    sum(losses.values()).backward()
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters() if parameter.requires_grad)
    found = {}
    for enabled in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            pyramids = net.eval().features(net._batch(images)[0])
            given = [target.boxes for target in targets]
            found[enabled] = net.boxes.detect(pyramids, given, [target.size for target in targets])
    for (one, _), (other, scores) in zip(found[False], found[True], strict=True):
        assert other.dtype == scores.dtype == torch.float32
        assert (one - other).abs().max() < 1

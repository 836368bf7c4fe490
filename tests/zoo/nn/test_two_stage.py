"""The whole model: odd targets, weights of images, coordinates, precision, freezing."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from torch.nn import functional

from fusion.errors import InputError
from tests.zoo.nn.cases import CLASSES, batch, scene
from zoo.config import (
    Cascade,
    DecoupledBackbone,
    DecoupledHead,
    FCHead,
    MaskHead,
    MaskIoU,
    Model,
    SoftNMS,
    StuffHead,
    replace,
)
from zoo.models import build
from zoo.nn.detections import Detections, pick
from zoo.nn.geometry import encode
from zoo.scale import tiny

PLAIN = tiny(Model())
MASKS = tiny(Model(mask=MaskHead(iou=MaskIoU(convs=2)), stuff=StuffHead()))
CASCADE = tiny(
    Model(
        head=FCHead(class_agnostic=True),
        cascade=Cascade(
            iou=(0.5, 0.7),
            std=((0.1, 0.1, 0.2, 0.2), (0.033, 0.033, 0.067, 0.067)),
            loss_weight=(1.0, 0.5),
            score_weight=(1.0, 1.0),
        ),
    )
)

# what MMfruit's detectors have beside these, all in one
DECOUPLED = replace(
    CASCADE, head=tiny(Model(head=DecoupledHead(class_agnostic=True))).head, decoupled=DecoupledBackbone()
)


def model(config, seed=0):
    torch.manual_seed(seed)
    return build(config, CLASSES, pretrained=False)


def backward(net, images, targets):
    losses = net.train()(images, targets)
    net.zero_grad()
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    for name, parameter in net.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    return {name: loss.item() for name, loss in losses.items()}


@pytest.mark.parametrize("config", [PLAIN, MASKS, CASCADE, DECOUPLED], ids=["plain", "masks", "cascade", "decoupled"])
@pytest.mark.parametrize("kind", ["empty", "ignore", "labels", "pixel", "mixed"])
def test_odd_images(config, kind):
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "masks": None}
    given = {
        "empty": nothing,
        "ignore": nothing | {"ignore_boxes": torch.tensor([[0.0, 0, 128, 128]])},
        "labels": nothing | {"image_labels": torch.ones(CLASSES, dtype=torch.bool)},
        "pixel": {
            "boxes": torch.tensor([[5.0, 5, 6, 6]]),
            "labels": torch.tensor([1]),
            "masks": [[[5.0, 5, 6, 5, 6, 6, 5, 6]]],
        },
        "mixed": nothing,
    }[kind]
    images, targets = batch(1, **given)
    if kind == "mixed":
        more, others = batch(2, size=(96, 128))
        images, targets = images + more, targets + others
    backward(model(config), images, targets)


@pytest.mark.parametrize("config", [MASKS, CASCADE, DECOUPLED], ids=["masks", "cascade", "decoupled"])
def test_images_without_proposals(config, monkeypatch):
    net = model(config)
    images, targets = batch(1, 2)
    monkeypatch.setattr(net.rpn, "propose", lambda *_: [torch.zeros(0, 4)] * 2)
    nothing = [replace_target(target, boxes=torch.zeros(0, 4), labels=target.labels[:0]) for target in targets]
    backward(net, images, nothing)
    found = net.eval()(images)
    assert [len(own) for own in found] == [0, 0]


def replace_target(target, **given):
    masks = given.pop("masks", [])
    return type(target)(**(vars(target) | {"masks": masks, "box_weight": torch.ones(len(given["boxes"]))} | given))


def test_a_weight_scales_every_loss_of_the_image():
    images, targets = batch(1)
    one = model(MASKS).train()(images, targets)
    targets[0].loss_weight = 0.25
    quarter = model(MASKS).train()(images, targets)
    for name in one:
        assert quarter[name].item() == pytest.approx(one[name].item() / 4, rel=1e-4), name


def test_an_image_gets_the_same_draws_alone_and_in_any_batch():
    config = replace(PLAIN, rpn=replace(PLAIN.rpn, samples=8))
    alone = [model(config).train()(*batch(n)) for n in (1, 2)]
    together = model(config).train()(*batch(2, 1))
    for name in ("rpn_objectness", "class"):
        assert together[name].item() == pytest.approx(sum(one[name].item() for one in alone) / 2, rel=1e-4)


def test_draws_change_with_each_pass_and_survive_saving():
    net = model(PLAIN)
    first, second = (net.train()(*batch(1))["class"].item() for _ in range(2))
    assert first != second
    again = model(PLAIN, seed=5)
    state = net.state_dict()
    again.load_state_dict(state)
    assert again.train()(*batch(1))["class"].item() == net.train()(*batch(1))["class"].item()
    assert int(net.passes) == 3


@pytest.mark.parametrize("config", [MASKS, CASCADE, DECOUPLED], ids=["masks", "cascade", "decoupled"])
def test_detections(config):
    net = model(replace(config, infer=replace(config.infer, score=0.0))).eval()
    images, targets = batch(1, 2)
    targets[1].original_size = (256, 384)
    with torch.no_grad():
        found = net(images, targets)
    assert [type(own) for own in found] == [Detections, Detections]
    for own, (height, width) in zip(found, [(128, 128), (256, 384)], strict=True):
        assert 0 < len(own) <= config.infer.detections
        assert own.boxes.dtype == own.scores.dtype == torch.float32
        assert own.labels.dtype == torch.int64
        assert (own.scores[:-1] >= own.scores[1:]).all()
        assert ((own.labels >= 1) & (own.labels <= CLASSES)).all()
        assert own.boxes.min() >= 0
        assert (own.boxes[:, 2] <= width + 1e-3).all()
        assert (own.boxes[:, 3] <= height + 1e-3).all()
        if config.mask:
            assert [mask["size"] for mask in own.masks] == [[height, width]] * len(own)
            assert ((own.mask_scores >= 0) & (own.mask_scores <= own.scores)).all()
        else:
            assert own.masks is None
    with torch.no_grad():
        small = net(images)
    scale = torch.tensor([3.0, 2.0, 3.0, 2.0])
    assert torch.allclose(small[1].boxes * scale, found[1].boxes, atol=1e-3)
    assert torch.equal(small[1].scores, found[1].scores)


def test_saving_and_loading_keeps_the_outputs(tmp_path):
    from safetensors.torch import load_file, save_file

    net = model(MASKS).train()
    net(*batch(1, 2))
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    other = model(MASKS, seed=9)
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    images, targets = batch(3)
    with torch.no_grad():
        one, two = net.eval()(images, targets)[0], other.eval()(images, targets)[0]
    assert torch.equal(one.boxes, two.boxes)
    assert torch.equal(one.mask_scores, two.mask_scores)
    assert one.masks == two.masks


def test_given_boxes_come_back_as_they_are():
    net = model(MASKS).eval()
    images, targets = batch(1, 2)
    targets[0].original_size = (200, 300)
    random = torch.Generator().manual_seed(0)
    corner = torch.rand(7, 2, generator=random) * 80
    given = Detections(
        torch.cat([corner, corner + 30], 1), torch.rand(7, generator=random), torch.randint(1, CLASSES + 1, (7,))
    )
    none = Detections(given.boxes[:0], given.scores[:0], given.labels[:0])
    with torch.no_grad():
        found = net(images, targets, [given, none])
    assert torch.equal(found[0].boxes, given.boxes)
    assert torch.equal(found[0].scores, given.scores)
    assert torch.equal(found[0].labels, given.labels)
    assert len(found[0].masks) == 7
    assert found[0].masks[0]["size"] == [200, 300]
    assert found[1].masks == []
    assert len(found[1].mask_scores) == 0
    with pytest.raises(InputError, match="mask head"):
        model(PLAIN).eval()(images, targets, [given, none])


def test_given_detections_get_the_masks_that_the_model_gives_its_own():
    net = model(MASKS).eval()
    images, targets = batch(1)
    with torch.no_grad():
        own = net(images, targets)[0]
        again = net(images, targets, [own])[0]
    assert again.masks == own.masks
    assert torch.allclose(again.mask_scores, own.mask_scores, atol=1e-6)


@pytest.mark.parametrize("config", [MASKS, CASCADE, DECOUPLED], ids=["masks", "cascade", "decoupled"])
def test_bfloat16(config):
    net = model(config)
    images, targets = batch(1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        losses = net.train()(images, targets)
    sum(losses.values()).backward()
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())
    proposals = [target.boxes for target in targets]
    sizes = [target.size for target in targets]
    boxes = {}
    for enabled in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            maps = net.features(net._batch(images)[0])
            boxes[enabled] = net.eval().boxes.detect(maps, proposals, sizes)
    for (one, _), (other, scores) in zip(boxes[False], boxes[True], strict=True):
        assert other.dtype == scores.dtype == torch.float32
        assert (one - other).abs().max() < 1


def test_stages_refine_the_boxes_of_the_one_before():
    net = model(CASCADE)
    images, targets = batch(1)
    seen = []
    forward = net.boxes.forward
    net.boxes.forward = lambda pyramid, rois, stage: seen.append(rois) or forward(pyramid, rois, stage)
    goal = targets[0].boxes[:1]
    start = goal + torch.tensor([[2.0, 2, 4, 4]])
    std = CASCADE.cascade.std[0]
    torch.nn.init.zeros_(net.boxes.stages[0].predictor.weight)
    net.boxes.stages[0].predictor.bias.data = encode(start, goal, std)[0]
    maps = net.features(net._batch(images)[0])
    net.eval().boxes.detect(maps, [start], [(128, 128)])
    assert torch.allclose(seen[1][:, 1:], goal, atol=1e-3)
    assert not seen[1].requires_grad or net.boxes.training is False
    net.train()(images, targets)
    assert all(not rois.requires_grad for rois in seen[2:])


def test_scores_are_the_weighted_mean_of_the_stages():
    net = model(replace(CASCADE, cascade=replace(CASCADE.cascade, score_weight=(0.75, 0.25)))).eval()
    images, targets = batch(1)
    maps = net.features(net._batch(images)[0])
    each = []
    for stage in net.boxes.stages:
        scores = stage.classifier.scores
        stage.classifier.scores = lambda logits, scores=scores: each.append(scores(logits)) or each[-1]
    _, found = net.boxes.detect(maps, [targets[0].boxes], [(128, 128)])[0]
    assert torch.allclose(found, 0.75 * each[0] + 0.25 * each[1], atol=1e-6)


def test_soft_nms_lowers_scores_instead_of_dropping_boxes():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [30, 30, 40, 40]])
    scores = torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.5, 0.5]])
    hard = pick(boxes, scores, PLAIN.infer)
    assert torch.equal(hard.boxes, boxes[[0, 2]])
    soft = pick(boxes, scores, replace(PLAIN.infer, soft_nms=SoftNMS()))
    assert torch.equal(soft.boxes, boxes[[0, 2, 1]])
    assert torch.allclose(soft.scores, torch.tensor([0.9, 0.5, 0.8 * 0.2]), atol=1e-6)
    low = torch.tensor([[0.99, 5e-4]] * 3)
    assert len(pick(boxes, low, replace(PLAIN.infer, soft_nms=SoftNMS(), score=1e-4))) == 3


def test_images_of_different_sizes_are_padded_and_normalised():
    net = model(PLAIN)
    images = [torch.rand(3, 40, 70), torch.rand(3, 64, 33)]
    padded, sizes = net._batch(images)
    assert padded.shape == (2, 3, 64, 96)
    assert sizes == [(40, 70), (64, 33)]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(padded[0, :, 5, 6], (images[0][:, 5, 6] - mean) / std)
    assert padded[0, :, 40:].abs().sum() == 0


def test_freezing():
    config = replace(MASKS, train=replace(MASKS.train, freeze=("backbone", "neck", r"boxes\.stages\.0\.branches")))
    net = model(config)
    net.train()
    assert not net.backbone.training
    assert not net.backbone.net.layer1[0].training
    assert net.rpn.training
    losses = net(*batch(1))
    sum(losses.values()).backward()
    for name, parameter in net.named_parameters():
        frozen = name.startswith(("backbone.", "neck.", "boxes.stages.0.branches."))
        assert (parameter.grad is None) == frozen, name
    with pytest.raises(InputError, match="matches no parameter"):
        model(PLAIN).freeze(("bakbone",))


def test_stuff_needs_its_maps():
    net = model(MASKS).train()
    with pytest.raises(InputError, match="no map of stuff"):
        net(*batch(1, stuff=False))
    images, targets = batch(1)
    targets[0].stuff += 77
    with pytest.raises(InputError, match="class 7"):
        net(images, targets)


def test_stuff_loss_by_hand():
    net = model(MASKS).stuff
    _, targets = batch(1)
    targets[0].stuff[:64] = 255
    maps = [torch.randn(1, 32, 128 // s, 128 // s) for s in (4, 8, 16, 32, 64)]
    logits = net(maps)
    truth = targets[0].stuff[4::8, 4::8].long()[None]
    expected = 0.2 * functional.cross_entropy(logits[:, :, 8:], truth[:, 8:])
    assert net.loss(maps, targets).item() == pytest.approx(expected.item(), rel=1e-4)


def test_training_needs_targets():
    with pytest.raises(InputError, match="needs targets"):
        model(PLAIN).train()([scene(1)[0]])

"""Branches and classifiers of the box heads."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from torch import nn

from fusion.errors import InputError
from tests.zoo.nn.cases import CLASSES, batch
from zoo.config import (
    ConvHead,
    CosineSoftmax,
    DoubleHead,
    EqualizedSigmoid,
    FCHead,
    Model,
    Softmax,
    TauSoftmax,
    replace,
)
from zoo.data import Target, open_data
from zoo.data.counts import CategoryCounts, category_counts
from zoo.models import build
from zoo.nn.box_heads import BoxStage, Stage
from zoo.nn.classifiers import build_classifier, teach_counts
from zoo.nn.fpn import Pyramids
from zoo.nn.sampling import Regions
from zoo.scale import tiny

ROIS = torch.tensor([[0.0, 4, 4, 60, 50], [0.0, 10, 0, 90, 90]])


def stage(head):
    torch.manual_seed(0)
    return BoxStage(Model(head=head), 16, 5)


def regions(labels, weight):
    nothing = torch.zeros(len(labels))
    rois = torch.zeros(len(labels), 5)
    return Regions(rois, labels, nothing.long(), rois[:, 1:], weight, nothing.bool())


def maps():
    return Pyramids.shared([torch.randn(1, 16, 32 // s, 32 // s) for s in (1, 2, 4, 8, 16)])


@pytest.mark.parametrize(
    ("head", "shape"),
    [
        (FCHead(channels=32), (2, 5, 4)),
        (FCHead(channels=32, class_agnostic=True), (2, 4)),
        (ConvHead(channels=32, width=16, class_agnostic=True), (2, 4)),
        (ConvHead(channels=32, width=16, tail="gap"), (2, 5, 4)),
        (DoubleHead(channels=32, width=16), (2, 5, 4)),
        (DoubleHead(channels=32, width=16, class_agnostic=True), (2, 4)),
    ],
)
def test_shapes_and_gradients(head, shape):
    net = stage(head)
    found = net(maps(), ROIS, Stage())
    assert found.logits.shape == (2, 6)
    assert found.deltas.shape == shape
    (found.logits.square().sum() + found.deltas.square().sum()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())
    none = net(maps(), ROIS[:0], Stage())
    assert none.deltas.shape == (0, *shape[1:])


def test_convolutions_serve_boxes_only():
    net = stage(ConvHead(channels=32, width=256))
    assert [type(layer).__name__ for layer in net.branches.boxes] == ["Conv2d", "GroupNorm", "ReLU"] * 4
    assert all(layer.num_groups == 32 for layer in net.branches.boxes if isinstance(layer, nn.GroupNorm))
    assert not [module for module in net.branches.classes.modules() if isinstance(module, nn.Conv2d)]
    net(maps(), ROIS, Stage()).logits.sum().backward()
    assert net.branches.boxes[0].weight.grad is None


def test_dropout_hides_class_features_in_training_alone():
    torch.manual_seed(0)
    net, features = BoxStage(Model(head=FCHead(channels=400), class_dropout=0.25), 16, 5), maps()
    seen = []
    net.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    located = [net.train(mode)(features, ROIS, Stage()).deltas for mode in (True, False)]
    assert torch.equal(*located)
    hidden, whole = seen
    kept = (hidden != 0)[whole != 0].float().mean()
    assert kept.item() == pytest.approx(0.75, abs=0.06)
    assert torch.allclose(hidden[hidden != 0], whole[hidden != 0] / 0.75)
    with pytest.raises(InputError, match="class_dropout"):
        Model(class_dropout=1.0).validate()


def test_a_double_head_sees_more_around_boxes_and_shares_nothing(monkeypatch):
    net = stage(DoubleHead(channels=32, width=16))
    seen = []
    pool = net.pool.forward
    monkeypatch.setattr(net.pool, "forward", lambda pyramid, rois: seen.append(rois) or pool(pyramid, rois))
    found = net(maps(), ROIS, Stage())
    larger = torch.tensor([[0.0, -4.4, -2.9, 68.4, 56.9], [0.0, -2, -13.5, 102, 103.5]])
    assert torch.allclose(seen[0], larger, atol=1e-4)
    assert torch.equal(seen[1], ROIS)
    convs = [layer for layer in net.branches.boxes.modules() if isinstance(layer, nn.Conv2d)]
    shapes = [(conv.in_channels, conv.out_channels, conv.kernel_size[0]) for conv in convs]
    assert shapes == [(16, 16, 3), (16, 32, 1), (16, 32, 1), *[(32, 16, 1), (16, 16, 3), (16, 32, 1)] * 4]
    found.deltas.sum().backward()
    assert all(parameter.grad is None for parameter in net.branches.classes.parameters())
    assert all(parameter.grad is not None for parameter in net.branches.boxes.parameters())


def test_the_losses_of_a_double_head_weigh_as_it_says():
    own = regions(torch.tensor([0, 2]), torch.ones(2))
    own.rois[:], own.goal[:] = ROIS, ROIS[:, 1:] + 3
    found = []
    for weight in (1.0, 2.0):
        net = stage(DoubleHead(channels=32, width=16, weight=weight))
        torch.manual_seed(1)
        found.append(net.losses(net(maps(), ROIS, Stage()), own, [], Stage()))
    for name, loss in found[0].items():
        assert found[1][name].item() == pytest.approx(2 * loss.item())


@pytest.mark.parametrize("config", [Softmax(), CosineSoftmax(), TauSoftmax()])
def test_scores_are_probabilities(config):
    net = build_classifier(config, 8, 3)
    logits = net(torch.randn(4, 8))
    assert torch.allclose(net.scores(logits).sum(1), torch.ones(4))
    labels, weight = torch.tensor([0, 1, 2, 3]), torch.tensor([1, 0.5, 2, 0])
    expected = -net.scores(logits).gather(1, labels[:, None])[:, 0].log() @ weight / 4
    assert net.loss(logits, regions(labels, weight), []).item() == pytest.approx(expected.item(), rel=1e-4)


def test_cosines_do_not_see_the_length_of_features():
    net, features = build_classifier(CosineSoftmax(scale=20), 8, 3), torch.randn(4, 8)
    assert torch.allclose(net(features), net(7 * features), atol=1e-4)
    assert net(features).abs().max() <= 20
    net.linear.weight.data[2] *= 100
    assert torch.allclose(net(features), net(7 * features), atol=1e-4)


def test_tau_evens_out_class_weights_at_test():
    net, features = build_classifier(TauSoftmax(tau=1.0), 8, 3), torch.randn(4, 8)
    net.linear.weight.data[2] *= 100
    plain = nn.functional.linear(features, net.linear.weight, net.linear.bias)
    assert torch.equal(net.train()(features), plain)
    evened = net.eval()(features)
    assert torch.allclose(evened[:, 0], plain[:, 0])
    direction = nn.functional.normalize(net.linear.weight[1:], dim=1)
    cosines = features @ direction.T
    ratio = evened[:, 1:] / cosines
    assert torch.allclose(ratio, ratio[:1, :1].expand_as(ratio), rtol=1e-3)
    assert torch.equal(replace_tau(net, 0.0)(features), plain)


def replace_tau(net, tau):
    net.tau = tau
    return net


def test_parts_of_the_config_reach_the_stage():
    config = Model(head=FCHead(channels=32), classifier=CosineSoftmax(scale=3.0))
    net = BoxStage(replace(config, pool=replace(config.pool, size=5)), 16, 5)
    assert net.branches.layers[0].in_features == 16 * 25
    assert net.classifier.scale == 3.0


def counts(images, total):
    images = torch.tensor(images)
    return CategoryCounts(total, images, 3 * images)


def test_objects_of_others_teach_a_rare_category_nothing():
    """The formula, region by region and category by category (EQL)."""
    net = build_classifier(EqualizedSigmoid(rare=0.1), 8, 4)
    net.count(counts([50, 9, 10, 2], 100))
    assert net.rare.tolist() == [False, True, False, True]
    logits = torch.randn(6, 4, requires_grad=True)
    labels, weight = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([1.0, 1, 2, 1, 0.5, 1])
    loss = net.loss(logits, regions(labels, weight), [])
    expected = 0.0
    for row, label in enumerate(labels.tolist()):
        for category in range(1, 5):
            if label not in (0, category) and category in (2, 4):
                continue
            chance = logits[row, category - 1].sigmoid()
            expected -= weight[row] * (chance if category == label else 1 - chance).log() / 6
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert (logits.grad[[1, 3], 1] == 0).all()
    assert (logits.grad[0] > 0).all()


def test_only_what_an_image_verifies_is_taken_for_absent():
    net = build_classifier(EqualizedSigmoid(verified=True), 8, 5)
    present = {"boxes": torch.zeros(1, 4), "labels": torch.tensor([1]), "neg_classes": torch.tensor([2])}
    targets = [
        Target.empty(1, (9, 9), **present, drawn=3),
        Target.empty(2, (9, 9), **present, not_exhaustive=torch.tensor([1])),
    ]
    own = regions(torch.tensor([0, 0, 5]), torch.ones(3))
    own.rois[1:, 0] = 1
    logits = torch.zeros(3, 5, requires_grad=True)
    net.loss(logits, own, targets).backward()
    assert (logits.grad != 0).tolist() == [
        [True, True, True, False, False],
        [False, True, False, False, False],
        [False, True, False, False, True],
    ]


def test_a_model_with_it_learns_its_counts_from_the_data_and_keeps_them():
    torch.manual_seed(0)
    net = build(tiny(Model(classifier=EqualizedSigmoid(rare=0.2))), CLASSES, pretrained=False).train()
    data = open_data("scenes:12,64,0,categories=3,tail=3")
    found = category_counts(data)
    category = data.image_categories.category
    assert found.images.tolist() == [int((category == label).sum()) for label in range(3)]
    assert found.total == 12
    assert found.objects.sum() == (~data.truth.crowd).sum()
    teach_counts(net, found)
    rare = net.boxes.stages[0].classifier.rare
    assert rare.tolist() == [images < 2.4 for images in found.images.tolist()]
    assert 0 < rare.sum() < 3
    losses = net(*batch(1, 2))
    sum(losses.values()).backward()
    assert net.boxes.stages[0].classifier.linear.weight.grad.abs().sum() > 0
    other = build(net.config, CLASSES, pretrained=False)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.boxes.stages[0].classifier.rare, rare)
    with torch.no_grad():
        found = net.eval()(*batch(1))
    assert all(own.scores.max() <= 1 for own in found if len(own))

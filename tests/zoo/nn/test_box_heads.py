"""Branches and classifiers of the box heads."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from torch import nn

from zoo.config import ConvHead, CosineSoftmax, FCHead, Model, Softmax, TauSoftmax, replace
from zoo.nn.box_heads import BoxStage, Stage
from zoo.nn.classifiers import build_classifier
from zoo.nn.sampling import Regions

ROIS = torch.tensor([[0.0, 4, 4, 60, 50], [0.0, 10, 0, 90, 90]])


def stage(head):
    torch.manual_seed(0)
    return BoxStage(Model(head=head), 16, 5)


def regions(labels, weight):
    nothing = torch.zeros(len(labels))
    rois = torch.zeros(len(labels), 5)
    return Regions(rois, labels, nothing.long(), rois[:, 1:], weight, nothing.bool())


def maps():
    return [torch.randn(1, 16, 32 // s, 32 // s) for s in (1, 2, 4, 8, 16)]


@pytest.mark.parametrize(
    ("head", "shape"),
    [
        (FCHead(channels=32), (2, 5, 4)),
        (FCHead(channels=32, class_agnostic=True), (2, 4)),
        (ConvHead(channels=32, width=16, class_agnostic=True), (2, 4)),
        (ConvHead(channels=32, width=16, tail="gap"), (2, 5, 4)),
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

"""What the cascade asks of a head: one that moves its region, pools twice and has two classifiers fits as it is."""

# ruff: noqa: E402

from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from torch import nn

from tests.zoo.nn.cases import CLASSES, batch
from zoo.config import Cascade, FCHead, Model, RoIPool, replace
from zoo.models import build
from zoo.nn.box_heads import StageHead
from zoo.nn.classifiers import SoftmaxClassifier
from zoo.nn.draws import Draws
from zoo.nn.geometry import decode, encode
from zoo.nn.losses import box_loss, shared_count, weighted_mean
from zoo.nn.pool import Pooler
from zoo.scale import tiny

TWO = Cascade(
    iou=(0.5, 0.6),
    std=((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1)),
    loss_weight=(1.0, 0.5),
    score_weight=(0.25, 0.75),
)
CASCADE = tiny(Model(head=FCHead(class_agnostic=True), cascade=TWO))


class Found(NamedTuple):
    shifted: torch.Tensor
    deltas: torch.Tensor
    coarse: torch.Tensor
    fine: torch.Tensor


class MovingHead(StageHead):
    """Classes from the region as it is and from where it is moved to; the box starts from there."""

    def __init__(self, channels, num_classes):
        super().__init__()
        self.pools = nn.ModuleList(Pooler(RoIPool(size=size), channels) for size in (3, 7))
        self.shift = nn.Linear(9 * channels, 2)
        self.coarse = SoftmaxClassifier(9 * channels, num_classes)
        self.fine = SoftmaxClassifier(49 * channels, num_classes)
        self.predictor = nn.Linear(49 * channels, 4)
        for layer in (self.shift, self.predictor):
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)

    def forward(self, pyramids, rois, stage):
        small = self.pools[0](pyramids.classes, rois).flatten(1)
        deltas = torch.cat([self.shift(small), torch.zeros(len(rois), 2)], dim=1)
        shifted = torch.cat([rois[:, :1], decode(deltas, rois[:, 1:])], dim=1)
        large = self.pools[1](pyramids.boxes, shifted.detach()).flatten(1)
        return Found(shifted, self.predictor(large), self.coarse(small), self.fine(large))

    def losses(self, output, regions, targets, stage):
        positive = regions.labels > 0
        count = shared_count(len(regions), output.deltas)
        start = output.shifted[positive]
        goal = encode(start[:, 1:].detach(), regions.goal[positive], stage.std)
        nothing = sum(part.sum() * 0 for part in output)
        return {
            "coarse": self.coarse.loss(output.coarse, regions, targets) + nothing,
            "fine": self.fine.loss(output.fine, regions, targets) + nothing,
            "box": weighted_mean(box_loss(output.deltas[positive], goal, stage.beta), regions.weight[positive], count),
            "shift": weighted_mean(
                box_loss(start[:, 1:], regions.goal[positive], 1.0) / 100, regions.weight[positive], count
            ),
        }

    def boxes(self, output, rois, stage):
        return decode(output.deltas, output.shifted[:, 1:].detach(), stage.std)

    def scores(self, output):
        return (self.coarse.scores(output.coarse) + self.fine.scores(output.fine)) / 2


def moving(config):
    torch.manual_seed(0)
    net = build(config, CLASSES, pretrained=False)
    net.boxes.stages[0] = MovingHead(config.neck.channels, CLASSES)
    return net


def test_its_losses_have_their_own_names_and_reach_every_weight():
    net = moving(CASCADE).train()
    losses = net(*batch(1, 2))
    assert set(losses) == {
        *("rpn_objectness", "rpn_box", "coarse_0", "fine_0", "box_0", "shift_0"),
        *("class_1", "box_1"),
    }
    sum(losses.values()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_next_stage_begins_where_its_boxes_are():
    net = moving(replace(CASCADE, sampling=replace(CASCADE.sampling, rois=8))).train()
    nn.init.zeros_(net.boxes.stages[0].shift.weight)
    net.boxes.stages[0].shift.bias.data = torch.tensor([0.5, 0.0])
    nn.init.zeros_(net.boxes.stages[0].predictor.weight)
    images, targets = batch(1)
    pyramids = net.features(net._batch(images)[0])
    proposal = torch.tensor([[10.0, 10, 30, 50]])
    first, second = net.boxes.train_stages(pyramids, [proposal], targets, [(128, 128)], [Draws(0, 0, 1)])
    moved = torch.tensor([[20.0, 10, 40, 50]])
    assert torch.allclose(first.boxes[0], moved)
    assert any(torch.allclose(roi[1:], moved[0]) for roi in second.regions.rois)
    assert not second.regions.rois.requires_grad


def test_both_of_its_classifiers_count_at_test():
    net = moving(CASCADE).eval()
    images, targets = batch(1)
    pyramids = net.features(net._batch(images)[0])
    with torch.no_grad():
        (boxes, scores), *_ = net.boxes.detect(pyramids, [targets[0].boxes], [(128, 128)])
        output = net.boxes(pyramids, torch.cat([torch.zeros(len(boxes), 1), targets[0].boxes], 1), 0)
    assert boxes.shape == (3, 4)
    first = (output.coarse.softmax(1) + output.fine.softmax(1)) / 2
    head = net.boxes.stages[1]
    with torch.no_grad():
        start = net.boxes.stages[0].boxes(output, None, net.boxes._stage(0)).clamp(0, 128)
        last = head.scores(net.boxes(pyramids, torch.cat([torch.zeros(3, 1), start], 1), 1))
    assert torch.allclose(scores, 0.25 * first + 0.75 * last, atol=1e-5)

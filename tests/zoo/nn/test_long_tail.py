"""Classifiers for long tails against the formulas, region by region, and who learns from which stream."""

# ruff: noqa: E402

import math

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.errors import InputError
from tests.zoo.nn.cases import CLASSES, batch
from zoo.config import (
    Cascade,
    DoubleClassifier,
    EqualizedSigmoid,
    FCHead,
    GroupSoftmax,
    Model,
    Seesaw,
    Softmax,
    Stream,
    from_dict,
    replace,
    with_field,
)
from zoo.data.counts import CategoryCounts
from zoo.models import build
from zoo.nn.classifiers import build_classifier
from zoo.nn.sampling import Regions
from zoo.scale import tiny

STREAMS = (Stream(images=1, sampler="repeat"), Stream(images=1, sampler="class_aware"))
DOUBLE = DoubleClassifier(first=GroupSoftmax(bounds=(2,)), second=Softmax())


def regions(labels, weight=None, image=None):
    nothing = torch.zeros(len(labels))
    rois = torch.zeros(len(labels), 5)
    if image is not None:
        rois[:, 0] = torch.tensor(image)
    weight = torch.ones(len(labels)) if weight is None else torch.tensor(weight)
    return Regions(rois, torch.tensor(labels), nothing.long(), rois[:, 1:], weight, nothing.bool())


def counted(config, objects):
    net = build_classifier(config, 8, len(objects))
    objects = torch.tensor(objects)
    net.count(CategoryCounts(1000, objects, objects))
    return net


def softmax(values):
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    return [power / sum(powers) for power in powers]


class PlainGroups:
    """Balanced group softmax, list by list: bins by number of objects, "others" first in each."""

    def __init__(self, objects, bounds):
        bins = [sum(count >= bound for bound in bounds) for count in objects]
        self.bins = [[c + 1 for c, own in enumerate(bins) if own == b] for b in range(len(bounds) + 1)]

    def parts(self, row):
        """(categories, logits with "others" first) of each bin that has some; objects and background come first."""
        for number, members in enumerate(self.bins):
            if members:
                yield members, [row[2 + number], *(row[1 + len(self.bins) + label] for label in members)]

    def loss(self, logits, labels, weight, others):
        total = 0.0
        for row, label, w in zip(logits, labels, weight, strict=True):
            total -= w * math.log(softmax(row[:2])[int(label == 0)]) / len(labels)
        for number in range(len([m for m in self.bins if m])):
            members = [m for m in self.bins if m][number]
            inside = [label in members for label in labels]
            taken = min(len(labels) - sum(inside), others * sum(inside))
            for row, label, w, own in zip(logits, labels, weight, inside, strict=True):
                chances = softmax(list(self.parts(row))[number][1])
                share = 1.0 if own else taken / (len(labels) - sum(inside))
                if share:
                    place = members.index(label) + 1 if own else 0
                    total -= share * w * math.log(chances[place]) / (sum(inside) + taken)
        return total

    def scores(self, row, count):
        thing, background = softmax(row[:2])
        found = [background] + [0.0] * count
        for members, own in self.parts(row):
            for label, chance in zip(members, softmax(own)[1:], strict=True):
                found[label] = thing * chance
        return found


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=2, max_size=6),
    st.data(),
    st.sampled_from([0.0, 0.5, 2.0, 100.0]),
    st.integers(0, 1000),
)
def test_group_softmax_is_the_formula(objects, data, others, seed):
    labels = data.draw(st.lists(st.integers(0, len(objects)), min_size=1, max_size=8))
    bounds = (5, 12)
    net, plain = counted(GroupSoftmax(bounds=bounds, others=others), objects), PlainGroups(objects, bounds)
    torch.manual_seed(seed)
    logits, weight = torch.randn(len(labels), net.outputs) * 3, torch.rand(len(labels))
    rows = logits.tolist()
    assert net.outputs == len(objects) + 5
    expected = plain.loss(rows, labels, weight.tolist(), others)
    assert net.loss(logits, regions(labels, weight.tolist()), []).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    scores = torch.tensor([plain.scores(row, len(objects)) for row in rows])
    assert torch.allclose(net.scores(logits), scores, atol=1e-5)


def test_taking_all_others_is_the_mean_of_drawing_some():
    net = counted(GroupSoftmax(bounds=(10,), others=2.0), [3, 50])
    torch.manual_seed(0)
    labels = [1] + [2] * 3 + [0] * 8
    logits = torch.randn(12, net.outputs)
    drawn = []
    for _ in range(1500):  # the public form: 2 of the 11 others of the first group, 6 of 9 of the second
        total = torch.nn.functional.cross_entropy(logits[:, :2], torch.tensor([0] * 4 + [1] * 8))
        for label, column in ((1, 2), (2, 3)):
            inside = [i for i, own in enumerate(labels) if own == label]
            outside = [i for i, own in enumerate(labels) if own != label]
            some = [outside[i] for i in torch.randperm(len(outside))[: 2 * len(inside)].tolist()]
            own = logits[inside + some][:, [column, 3 + label]]
            truth = torch.tensor([1] * len(inside) + [0] * len(some))
            total = total + torch.nn.functional.cross_entropy(own, truth)
        drawn.append(total.item())
    mean = sum(drawn) / len(drawn)
    spread = (sum((value - mean) ** 2 for value in drawn) / len(drawn)) ** 0.5
    assert spread > 0.05
    assert net.loss(logits, regions(labels), []).item() == pytest.approx(mean, abs=4 * spread / len(drawn) ** 0.5)


def test_groups_without_objects_learn_nothing():
    net = counted(GroupSoftmax(bounds=(10, 100)), [3, 50, 7, 60])
    assert net.group.tolist() == [0, 1, 0, 1]
    logits = torch.randn(4, net.outputs, requires_grad=True)
    net.loss(logits, regions([1, 0, 3, 0]), []).backward()
    # objects and background; others of groups 0 to 2; categories
    assert (logits.grad != 0).any(0).tolist() == [True, True, True, False, False, True, False, True, False]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.integers(0, 1000))
def test_seesaw_is_the_formula(labels, seed):
    torch.manual_seed(seed)
    net = build_classifier(Seesaw(scale=1.0), 8, 4)
    net.seen.copy_(torch.tensor([100, 10, 1, 0]))
    logits, weight = torch.randn(len(labels), 6) * 2, torch.rand(len(labels))
    seen = [max(1, before + labels.count(c + 1)) for c, before in enumerate((100, 10, 1, 0))]
    expected = 0.0
    for row, label, w in zip(logits.tolist(), labels, weight.tolist(), strict=True):
        expected -= w * math.log(softmax(row[:2])[int(label == 0)]) / len(labels)
        if label:
            own, z = label - 1, row[2:]
            chance = softmax(z)
            factor = [
                min(1, seen[c] / seen[own]) ** 0.8 * max(1, chance[c] / max(chance[own], 0.01)) ** 2 for c in range(4)
            ]
            factor[own] = 1.0
            expected -= (
                w * (z[own] - math.log(sum(f * math.exp(v) for f, v in zip(factor, z, strict=True)))) / len(labels)
            )
    assert net.loss(logits, regions(labels, weight.tolist()), []).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert net.seen.tolist() == [before + labels.count(c + 1) for c, before in enumerate((100, 10, 1, 0))]
    assert torch.allclose(net.scores(logits).sum(1), torch.ones(len(labels)))


def test_seesaw_sees_directions_only():
    net = build_classifier(Seesaw(), 8, 4)
    features = torch.randn(5, 8)
    assert torch.allclose(net(features), net(3 * features), atol=1e-4)
    assert net(features).abs().max() <= 20


def double(**given):
    model = tiny(Model(head=FCHead(class_agnostic=True), **given))
    return replace(
        model, data=replace(model.data, streams=(replace(STREAMS[0], images=2), replace(STREAMS[1], images=2)))
    )


def test_each_stream_teaches_its_own_classifier():
    net = build(double(classifier=DOUBLE).validate("cpu"), CLASSES, pretrained=False).train()
    images, targets = batch(1, 2)
    for stream, (taught, other) in enumerate((("first", "second"), ("second", "first"))):
        net.zero_grad()
        for target in targets:
            target.stream = stream
        sum(net(images, targets).values()).backward()
        classifier = net.boxes.stages[0].classifier
        assert getattr(classifier, taught).linear.weight.grad.abs().sum() > 0
        assert (getattr(classifier, other).linear.weight.grad == 0).all()


def test_losses_and_scores_of_both_are_those_of_each():
    net = build_classifier(DoubleClassifier(first=Softmax(), second=EqualizedSigmoid()), 8, 3)
    _, targets = batch(1, 2)
    assert [target.stream for target in targets] == [0, 1]
    logits, labels, image = net(torch.randn(5, 8)), [1, 0, 2, 3, 0], [0, 1, 1, 0, 1]
    first, second = logits[:, :4], logits[:, 4:]
    one = net.first.loss(first[[0, 3]], regions([1, 3]), targets)
    two = net.second.loss(second[[1, 2, 4]], regions([0, 2, 0]), targets)
    assert torch.allclose(net.loss(logits, regions(labels, image=image), targets), one + two)
    mean = (first.softmax(1)[:, 1:] + second.sigmoid()) / 2
    assert torch.allclose(net.scores(logits)[:, 1:], mean)


def test_a_double_classifier_needs_two_streams():
    with pytest.raises(InputError, match=r"data\.streams: a double classifier learns from two streams, got 0"):
        Model(classifier=DOUBLE).validate()


TWO = Cascade(iou=(0.5, 0.6), std=((0.1, 0.1, 0.2, 0.2),) * 2, loss_weight=(1.0, 1.0), score_weight=(1.0, 1.0))


def test_stages_may_have_classifiers_of_their_own():
    model = Model(head=FCHead(class_agnostic=True), cascade=TWO, stage_classifiers=(Softmax(), GroupSoftmax()))
    net = build(tiny(model.validate()), CLASSES, "meta")
    assert [type(stage.classifier).__name__ for stage in net.boxes.stages] == ["SoftmaxClassifier", "GroupClassifier"]
    assert from_dict(Model, model.to_dict()) == model
    plain = '[{"kind": "Softmax"}, {"kind": "GroupSoftmax"}]'
    assert with_field(replace(model, stage_classifiers=()), "stage_classifiers", plain) == model
    with pytest.raises(InputError, match="an entry for each of 2 stages, got 1"):
        replace(model, stage_classifiers=(Softmax(),)).validate()

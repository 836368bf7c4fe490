"""Weak supervision: the branch that tells categories of images, what is mined by it, and who learns from that."""

# ruff: noqa: E402

import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.errors import InputError
from tests.oracles.zoo import iou
from tests.zoo.nn.cases import CLASSES, batch, scene
from zoo.config import Cascade, DecoupledBackbone, DecoupledHead, MaskHead, Model, Softmax, WeakSupervision
from zoo.data import open_data
from zoo.data.record import Target
from zoo.distributed import joined
from zoo.models import build
from zoo.nn.classifiers import build_classifier
from zoo.nn.draws import Draws
from zoo.nn.sampling import Regions, draw_regions
from zoo.nn.weak import Logits, WeakBranch, log_probabilities, presence, region_scores, teach_epoch
from zoo.scale import tiny
from zoo.training import Training

MODEL = tiny(Model(weak=WeakSupervision()))
LABELS = torch.tensor([True, False, True])
WHOLE = torch.tensor([[0.0, 0, 128, 128]])


def weak_target(**given):
    values = {"image_labels": LABELS, "verified": LABELS, "labels_only": True, "ignore_boxes": WHOLE}
    return Target.empty("weak", (128, 128), **(values | given))


def weak_image(**given):
    return scene(3, masks=None)[0], weak_target(**given)


def network(model=MODEL, seed=0):
    torch.manual_seed(seed)
    return build(model, CLASSES, pretrained=False).train()


def taught(net):
    """Parts of the network that have a gradient which is not zero."""
    names = [name for name, own in net.named_parameters() if own.grad is not None and bool(own.grad.any())]
    assert all(own.grad is not None for own in net.parameters())
    return {part for part in ("rpn", "predictor", "classifier", "weak", "backbone", "neck") if
            any(part in name.split(".") for name in names)}  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10**6))
def test_the_loss_is_the_formula(regions, seed):
    """Probabilities are sums over regions of two softmax, one over categories and one over regions."""
    torch.manual_seed(seed)
    x, y = torch.randn(regions, 3) * 3, torch.randn(regions, 3) * 3
    found = region_scores(x, y)
    target = weak_target(loss_weight=0.5, verified=torch.tensor([True, True, False]))
    expected = 0.0
    for k in range(2):  # nobody verified the third
        p = 0.0
        for r in range(regions):
            of_region = math.exp(x[r, k]) / sum(math.exp(x[r, j]) for j in range(3))
            own = of_region * math.exp(y[r, k]) / sum(math.exp(y[q, k]) for q in range(regions))
            assert found[r, k].item() == pytest.approx(own, rel=1e-4, abs=1e-7)
            p += own
        expected -= 0.5 * (math.log(p) if LABELS[k] else math.log(1 - p))
    branch, images = WeakBranch(WeakSupervision(), 4, 3), [Logits(x, y)] * 2
    assert branch.loss(images[:1], [target]).item() == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert branch.loss(images, [target, target]).item() == pytest.approx(expected, rel=1e-3, abs=1e-5)
    everything = WeakBranch(WeakSupervision(verified=False), 4, 3).loss(images[:1], [target]).item()
    assert everything == pytest.approx(expected - 0.5 * math.log(found[:, 2].sum().item()), rel=1e-3, abs=1e-5)


def test_probabilities_of_zero_and_one_have_a_way_back():
    """Where softmax is 0 or 1 in float32 the loss is finite, and its gradient as large as anywhere."""
    classes = torch.tensor([[200.0, 0, -200], [0, 300, -100]], requires_grad=True)
    regions = torch.tensor([[0.0, 0, 0], [-400, 400, 400]], requires_grad=True)
    there, absent = log_probabilities(classes, regions)
    assert there.tolist() == pytest.approx([0, 0, -400], abs=1e-4)
    assert absent.tolist() == pytest.approx([-200, -300, 0], abs=1e-4)
    loss = -there[2] - absent[0] - absent[1]
    loss.backward()
    assert classes.grad.isfinite().all()
    assert classes.grad.abs().sum() > 2
    assert regions.grad.isfinite().all()
    one = log_probabilities(torch.zeros(2, 1), torch.zeros(2, 1))
    assert one[0].item() == pytest.approx(0)


def test_what_is_known_of_an_image():
    def told(target, verified=True):
        return [own.long().tolist() for own in presence(target, 4, verified)]

    labels, some = torch.tensor([True, True, False, False]), torch.tensor([True, True, True, False])
    boxed = Target.empty(1, (8, 8), boxes=torch.zeros(1, 4), labels=torch.tensor([1]))
    assert told(boxed) == [[1, 0, 0, 0], [1, 1, 1, 1]]
    boxed = replace(boxed, ignore_boxes=torch.zeros(1, 4), ignore_labels=torch.tensor([4]))
    assert told(boxed) == [[1, 0, 0, 1], [1, 1, 1, 1]], "a group is there as well"
    boxed = replace(boxed, image_labels=labels, verified=some)
    assert told(boxed) == [[1, 0, 0, 1], [1, 0, 1, 1]], "what was cut off may be there or not"
    assert told(boxed, verified=False) == [[1, 0, 0, 1], [1, 0, 1, 1]]
    weak = weak_target(image_labels=labels, verified=some)
    assert told(weak) == [[1, 1, 0, 0], [1, 1, 1, 0]]
    assert told(weak, verified=False) == [[1, 1, 0, 0], [1, 1, 1, 1]]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.sampled_from([0.0, 0.5, 0.9]), st.integers(0, 10**6))
def test_the_best_regions_are_mined(count, share, seed):
    torch.manual_seed(seed)
    corner = torch.rand(count, 2) * 60
    boxes, scores = torch.cat([corner, corner + 20 + 40 * torch.rand(count, 2)], dim=1), torch.rand(count, 3) / count
    branch = WeakBranch(WeakSupervision(share=share), 4, 3)
    mined = branch.mined(boxes, scores, weak_target())
    mined.check()
    expected = []
    for category in (0, 2):
        left = sorted(range(count), key=lambda r: -scores[r, category].item())
        top, kept = scores[left[0], category].item(), []
        for r in left:
            if all(iou(boxes[r].tolist(), boxes[q].tolist()) <= 0.3 for q in kept):
                kept.append(r)
        expected += [(r, category + 1) for r in kept if scores[r, category].item() >= share * top]
    assert [(boxes.tolist().index(own), label) for own, label in zip(mined.boxes.tolist(), mined.labels.tolist(), strict=True)] == expected  # fmt: skip  # noqa: E501
    weights = [scores[:, label - 1].sum().item() for _, label in expected]
    assert mined.box_weight.tolist() == pytest.approx(weights, rel=1e-5)
    assert torch.equal(mined.ignore_boxes, WHOLE)
    assert mined.labels_only
    rest = WeakBranch(WeakSupervision(background="rest"), 4, 3).mined(boxes, scores, weak_target())
    assert len(rest.ignore_boxes) == 0
    nothing = weak_target(image_labels=torch.zeros(3, dtype=torch.bool))
    assert branch.mined(boxes, scores, nothing) is nothing
    assert branch.mined(boxes[:0], scores[:0], mined) is mined


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"head": replace(DecoupledHead(class_agnostic=True), channels=64, hidden=64)},
        {"decoupled": DecoupledBackbone()},
        {
            "head": replace(MODEL.head, class_agnostic=True),
            "cascade": Cascade(
                iou=(0.5, 0.6),
                std=((0.1, 0.1, 0.2, 0.2),) * 2,
                loss_weight=(1.0, 1.0),
                score_weight=(1.0, 1.0),
            ),
        },
    ],
    ids=["plain", "decoupled head", "decoupled backbone", "cascade"],
)
def test_an_image_with_labels_only_teaches_nothing_about_where_objects_are(changes):
    net = network(replace(MODEL, **changes))
    image, target = weak_image()
    losses = net([image], [target])
    assert not any(losses[name] for name in ("rpn_objectness", "rpn_box"))
    assert not any(loss.item() for name, loss in losses.items() if name.rstrip("_01").endswith("box"))
    sum(losses.values()).backward()
    assert taught(net) == {"classifier", "weak", "backbone", "neck"}
    assert losses["weak"].item() > 0


def test_nothing_is_mined_during_warm_up_and_without_the_branch():
    net = network()
    teach_epoch(net, passes=0.8)
    net([weak_image()[0]], [weak_target()])["class"].backward()
    assert taught_without_missing(net) == set()
    net.zero_grad()
    net([weak_image()[0]], [weak_target()])["class"].backward()
    assert "classifier" in taught_without_missing(net)
    teach_epoch(net, passes=2.5)
    assert int(net.weak.warmup) == 3
    assert int(network(replace(MODEL, weak=WeakSupervision(warmup=0.5))).weak.warmup) == 0, "told by trainings alone"
    plain = network(replace(MODEL, weak=None))
    losses = plain([weak_image()[0]], [weak_target()])
    assert not any(losses.values())
    sum(losses.values()).backward()
    assert taught(plain) == set()


def test_warm_up_of_a_training_is_in_epochs(tmp_path):
    train = replace(MODEL.train, batch=4, accumulate=2)
    config = replace(MODEL, weak=WeakSupervision(warmup=1.5), train=train)
    with joined() as ranks:
        data = open_data("scenes:7,64,0,categories=4")
        training = Training.begin(config, data, tmp_path / "run", "weak", ranks, resume=False)
    assert int(training.model.weak.warmup) == math.ceil(1.5 * 2 * 7 / 4), "two passes a step, 7 images in steps of 4"


def taught_without_missing(net):
    return {name.split(".")[-2] if "classifier" not in name else "classifier" for name, own in net.named_parameters()
            if own.grad is not None and bool(own.grad.any())}  # fmt: skip


def test_images_with_boxes_learn_as_before_beside_those_with_labels_only():
    images, targets = batch(1, masks=None)
    net = network()
    alone = net(images, targets)
    image, target = weak_image()
    net.get_buffer("passes").zero_()
    both = net([*images, image], [*targets, target])
    for name in ("rpn_objectness", "rpn_box"):
        assert both[name].item() == pytest.approx(alone[name].item(), rel=1e-5)
    assert both["box"].item() < alone["box"].item(), "a mean over the regions of both"
    sum(both.values()).backward()
    assert taught(net) == {"rpn", "predictor", "classifier", "weak", "backbone", "neck"}


def test_odd_images_half_precision_and_no_proposals(monkeypatch):
    net = network()
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "masks": None}
    given = [weak_image(), scene(1, **nothing), scene(2, **nothing, ignore_boxes=WHOLE), weak_image(image_labels=None)]
    for without in (False, True):
        if without:
            monkeypatch.setattr(net.rpn, "propose", lambda *_: [torch.zeros(0, 4)] * 4)
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            losses = net([image for image, _ in given], [target for _, target in given])
        sum(losses.values()).backward()
        assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
        assert all(own.grad.isfinite().all() for own in net.parameters())


@pytest.mark.parametrize("background", ["none", "rest"])
def test_what_was_not_mined(background):
    branch = WeakBranch(WeakSupervision(background=background), 4, 3)
    boxes = torch.tensor([[0.0, 0, 40, 40], [60, 60, 100, 100], [0, 60, 30, 90]])
    mined = branch.mined(boxes, torch.tensor([[0.6, 0, 0.1], [0.2, 0, 0.1], [0, 0, 0.3]]), weak_target())
    assert mined.labels.tolist() == [1, 3]
    regions = draw_regions([boxes], [mined], MODEL.sampling, 0.5, 0.5, [Draws(0, 0, 1)])
    own = sorted(zip(regions.labels.tolist(), regions.weight.tolist(), strict=True))
    kept = [(1, 0.8)] * 2 + [(3, 0.5)] * 2  # a proposal and what was mined, which is put among them
    rest = (0, 0.8 if background == "rest" else 0.0)  # it counts in means over regions, so that images weigh the same
    assert own == [(label, pytest.approx(w)) for label, w in [rest, *kept]]
    assert not regions.box_weight([mined]).any()
    assert torch.equal(regions.box_weight([replace(mined, labels_only=False)]), regions.weight)


def test_background_speaks_only_against_categories_that_were_verified():
    """Softmax over the categories known at the image, region by region; objects keep all of them."""
    torch.manual_seed(1)
    net = build_classifier(Softmax(verified=True), 8, 4)
    targets = [
        Target.empty(1, (8, 8), boxes=torch.zeros(1, 4), labels=torch.tensor([1]), neg_classes=torch.tensor([3])),
        Target.empty(2, (8, 8), verified=torch.tensor([False, True, False, False])),
        Target.empty(3, (8, 8), labels_only=True, verified=torch.tensor([True, True, False, False]),
                     image_labels=torch.tensor([True, False, False, False]), neg_classes=torch.tensor([2])),
        Target.empty(4, (8, 8)),
    ]  # fmt: skip
    known = [{1, 3}, {2}, {2}, set()]
    labels, image = torch.tensor([0, 1, 0, 4, 0, 0]), torch.tensor([0.0, 0, 1, 1, 2, 3])
    logits, weight = torch.randn(6, 5, requires_grad=True), torch.rand(6)
    rois = torch.cat([image[:, None], torch.zeros(6, 4)], dim=1)
    regions = Regions(rois, labels, labels, rois[:, 1:], weight, labels < 0)
    expected = 0.0
    for row in range(6):
        kept = {0, *known[int(image[row])]} if labels[row] == 0 else set(range(5))
        z = logits[row].tolist()
        expected -= weight[row].item() * (z[labels[row]] - math.log(sum(math.exp(z[k]) for k in kept))) / 6
    loss = net.loss(logits, regions, targets)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert logits.grad.isfinite().all()
    assert [row.nonzero().squeeze(1).tolist() for row in logits.grad[[0, 2, 4, 5]]] == [[0, 1, 3], [0, 2], [0, 2], []]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"weak": WeakSupervision(), "mask": MaskHead()}, "have no masks"),
        ({"weak": WeakSupervision(), "sampling": replace(MODEL.sampling, ignore_by="iou")}, "ignored by shares"),
        ({"weak": WeakSupervision(rois=0)}, "weak.rois: expected at least 1, got 0"),
        ({"weak": WeakSupervision(warmup=-1)}, "weak.warmup: expected epochs from 0"),
        ({"weak": WeakSupervision(nms_iou=1.5)}, "weak.nms_iou: expected a share from 0 to 1, got 1.5"),
    ],
)
def test_settings_that_do_not_fit(changes, problem):
    with pytest.raises(InputError, match=problem):
        replace(MODEL, **changes).validate()

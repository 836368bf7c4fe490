"""Masks: targets, heads, edges, rescoring, pasting."""

# ruff: noqa: E402

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from pycocotools import mask as rle
from torch import nn
from torch.nn import functional

from fusion.errors import InputError
from tests.oracles import zoo as oracle
from tests.zoo.nn.cases import CLASSES, octagon, scene
from zoo.config import EdgeLoss, MaskHead, MaskIoU, RoIPool
from zoo.data.masks import mask_pixels, pack, unpack
from zoo.nn.edges import edge_agreement, edge_target
from zoo.nn.mask_head import MaskBranch, MaskPredictor, logits_of
from zoo.nn.mask_iou import mask_iou_target
from zoo.nn.paste import paste
from zoo.nn.rasterize import covered, rasterize
from zoo.nn.sampling import Regions


def regions_of(target, jitter=0.0):
    boxes = target.boxes + jitter
    return Regions(
        torch.cat([torch.zeros(len(boxes), 1), boxes], 1),
        target.labels,
        torch.arange(len(boxes)),
        target.boxes,
        torch.full((len(boxes),), target.loss_weight),
        torch.zeros(len(boxes), dtype=torch.bool),
    )


def pyramid(channels=8, size=128):
    torch.manual_seed(1)
    return [torch.randn(1, channels, size // s, size // s) for s in (4, 8, 16, 32, 64)]


@pytest.mark.parametrize("runs", [True, False])
def test_masks_in_boxes_of_whole_pixels_are_the_pixels(runs):
    polygon = octagon(10.0, 20.0, 38.0, 48.0)
    mask = pack(mask_pixels(polygon, (64, 64)).copy()) if runs else polygon
    box = torch.tensor([[8.0, 18, 36, 46], [20.0, 10, 48, 38], [50.0, 50, 78, 78]])
    found = rasterize([None, mask], torch.ones(3, dtype=torch.int64), box, 28)
    padded = np.pad(mask_pixels(polygon, (64, 64)), ((0, 30), (0, 30)))
    for n, (x, y, _, _) in enumerate(box.long().tolist()):
        assert np.array_equal(found[n].numpy(), padded[y : y + 28, x : x + 28])


def test_run_lengths_and_polygons_agree_in_any_box():
    torch.manual_seed(0)
    polygon = octagon(10.0, 20.0, 60.0, 70.0)
    corner = torch.rand(20, 2) * 30
    boxes = torch.cat([corner, corner + 15 + torch.rand(20, 2) * 40], 1)
    index = torch.zeros(20, dtype=torch.int64)
    one = rasterize([polygon], index, boxes, 28)
    other = rasterize([pack(mask_pixels(polygon, (100, 100)).copy())], index, boxes, 28)
    assert (one - other).abs().mean() < 0.04


def test_uncompressed_run_lengths_and_no_regions():
    mask = {"size": [4, 6], "counts": [8, 8, 8]}
    found = rasterize([mask], torch.zeros(1, dtype=torch.int64), torch.tensor([[0.0, 0, 6, 4]]), 12)
    assert found[0, :, 4:8].all()
    assert found.sum() == 48
    assert rasterize([], torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), 28).shape == (0, 28, 28)


def test_share_of_an_object_inside_a_region():
    square = [[10.0, 10, 30, 10, 30, 30, 10, 30]]
    boxes = torch.tensor([[0.0, 0, 50, 50], [20.0, 0, 50, 50], [20.0, 20, 50, 50], [40.0, 40, 50, 50]])
    index = torch.zeros(4, dtype=torch.int64)
    for mask in (square, pack(mask_pixels(square, (50, 50)).copy())):
        assert torch.allclose(covered([mask], index, boxes, (50, 50)), torch.tensor([1, 0.5, 0.25, 0]), atol=0.03)


def test_only_the_channel_of_the_class_is_computed():
    torch.manual_seed(0)
    layer, features = nn.Conv2d(16, 30, 1), torch.randn(5, 16, 14, 14)
    labels = torch.tensor([4, 30, 1, 8, 8])
    expected = layer(features)[torch.arange(5), labels - 1]
    assert torch.allclose(logits_of(features, layer, labels), expected, atol=1e-5)
    logits_of(features, layer, labels).sum().backward()
    assert layer.weight.grad[[3, 29, 0, 7]].abs().sum() > 0
    assert layer.weight.grad[[1, 2]].abs().sum() == 0


def test_number_of_convolutions():
    assert sum(isinstance(layer, nn.Conv2d) for layer in MaskPredictor(8, 4, 4, 2).convs) == 8


def test_edges_against_the_definition():
    masks = torch.zeros(3, 28, 28)
    masks[0, :14] = 1
    masks[1, 3:20, 5:24] = 1
    masks[2] = torch.from_numpy(mask_pixels(octagon(3.0, 3, 25, 22), (28, 28)).copy())
    for mask, edge in zip(masks, edge_target(masks), strict=True):
        assert np.array_equal(edge.numpy(), oracle.edges(mask.numpy()))
    assert edge_target(torch.ones(1, 28, 28))[0, 5:20, 5:20].sum() == 0
    assert edge_target(torch.zeros(0, 28, 28)).shape == (0, 28, 28)


def test_edge_agreement():
    masks = torch.zeros(2, 28, 28)
    masks[:, 8:20, 8:20] = 1
    assert torch.equal(edge_agreement(masks, masks), torch.zeros(2))
    blurred = functional.avg_pool2d(masks[:, None], 5, 1, 2)[:, 0].requires_grad_()
    loss = edge_agreement(blurred, masks)
    assert (loss > 0.001).all()
    loss.sum().backward()
    assert blurred.grad.abs().sum() > 0


def test_iou_of_an_object_of_which_half_is_inside():
    truth = torch.zeros(3, 28, 28)
    truth[:, :, :14] = 1
    logits = torch.where(truth > 0, 5.0, -5.0)
    logits[1] = 5.0  # the whole region is predicted
    found = mask_iou_target(logits, truth, torch.tensor([0.5, 1.0, 0.0]))
    assert torch.allclose(found, torch.tensor([0.5, 0.5, 0.0]))


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (MaskHead(convs=1, width=8), {"mask"}),
        (MaskHead(convs=1, width=8, edge=EdgeLoss()), {"mask", "mask_edge"}),
        (MaskHead(convs=1, width=8, edge=EdgeLoss(form="agreement")), {"mask", "mask_edge"}),
        (MaskHead(convs=1, width=8, iou=MaskIoU(convs=2, width=8, channels=8)), {"mask", "mask_iou"}),
        (MaskHead(convs=1, width=8, residual=True), {"mask", "mask_first"}),
        (MaskHead(convs=1, width=8, pool=RoIPool(size=7, levels="max")), {"mask"}),
    ],
)
def test_losses_and_gradients_of_each_part(config, names):
    torch.manual_seed(0)
    branch = MaskBranch(config, 8, CLASSES)
    _, target = scene(3)
    losses = branch.losses(pyramid(), regions_of(target), [target])
    assert set(losses) == names
    # untrained logits are about 0
    assert losses["mask"].item() == pytest.approx(0.693, abs=0.02)
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in branch.parameters())
    none = branch.losses(pyramid(), regions_of(target).only(torch.tensor([], dtype=torch.int64)), [target])
    assert all(loss.item() == 0 for loss in none.values())
    branch.zero_grad()
    sum(none.values()).backward()
    assert all(parameter.grad is not None for parameter in branch.parameters())


def test_the_weight_of_an_image_scales_its_losses():
    branch = MaskBranch(MaskHead(convs=1, width=8, edge=EdgeLoss(), iou=MaskIoU(width=8, channels=8)), 8, CLASSES)
    _, target = scene(3)
    half = regions_of(target)
    half.weight = half.weight / 2
    one, other = (branch.losses(pyramid(), own, [target]) for own in (regions_of(target), half))
    for name in one:
        assert other[name].item() == pytest.approx(one[name].item() / 2, rel=1e-5)


def test_the_second_head_starts_from_the_first_and_does_not_change_it():
    branch = MaskBranch(MaskHead(convs=1, width=8, residual=True), 8, CLASSES)
    own = regions_of(scene(3)[1])
    nn.init.zeros_(branch.residual.logits.weight)
    found = branch(pyramid(), own.rois, own.labels)
    assert torch.equal(found.logits, found.first)
    found.logits.sum().backward()
    assert branch.head.logits.weight.grad is None  # detached in the sum
    assert branch.residual.logits.weight.grad.abs().sum() > 0


def test_rescoring_sends_no_gradient_into_the_mask():
    branch = MaskBranch(MaskHead(convs=1, width=8, iou=MaskIoU(convs=2, width=8, channels=8)), 8, CLASSES)
    _, target = scene(3)
    branch.losses(pyramid(), regions_of(target), [target])["mask_iou"].backward()
    assert branch.head.logits.weight.grad is None
    assert branch.iou.classes.weight.grad is not None


def test_boxes_without_masks_are_an_error():
    branch = MaskBranch(MaskHead(convs=1, width=8), 8, CLASSES)
    _, target = scene(3, masks=None)
    with pytest.raises(InputError, match="without masks"):
        branch.losses(pyramid(), regions_of(target), [target])


def test_pasting_undoes_rasterising():
    polygon = octagon(20.3, 30.7, 160.9, 120.2)
    box = torch.tensor([[20.3, 30.7, 160.9, 120.2]])
    small = rasterize([polygon], torch.zeros(1, dtype=torch.int64), box, 28)
    found = paste(small, box, (150, 200), 0.5)
    truth = mask_pixels(polygon, (150, 200))
    assert rle.iou([found[0]], [pack(truth.copy())], [0])[0, 0] > 0.95


def test_pasting_at_the_edges_of_the_image():
    boxes = torch.tensor([[-10.0, -10, 10, 10], [90.0, 40, 130, 80], [200.0, 200, 210, 210], [5.0, 5, 5, 5]])
    found = paste(torch.ones(4, 28, 28), boxes, (60, 100), 0.5)
    assert [unpack(mask).shape for mask in found] == [(60, 100)] * 4
    assert [int(rle.area(mask)) for mask in found] == [100, 200, 0, 0]
    assert unpack(found[0])[:10, :10].all()


def test_objects_without_a_mask_teach_none():
    torch.manual_seed(0)
    config = MaskHead(convs=1, width=8, edge=EdgeLoss(), iou=MaskIoU(convs=2, width=8, channels=8))
    branch = MaskBranch(config, 8, CLASSES)
    _, target = scene(3)
    _, partial = scene(3, masks=[target.masks[0], None, target.masks[2]])
    own = regions_of(target)
    expected = branch.losses(pyramid(), own.only(torch.tensor([0, 2])), [target])
    found = branch.losses(pyramid(), own, [partial])
    assert {name: loss.item() for name, loss in found.items()} == {
        name: pytest.approx(loss.item()) for name, loss in expected.items()
    }
    _, nothing = scene(3, masks=[None] * 3)
    losses = branch.losses(pyramid(), own, [nothing])
    assert all(loss.item() == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in branch.parameters())

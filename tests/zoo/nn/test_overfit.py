"""A few families learn a few images by heart."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from pycocotools import mask as rle
from torchvision.ops import box_iou

from tests.zoo.nn.cases import CLASSES, scene
from zoo.data.masks import mask_pixels, pack
from zoo.models import build
from zoo.registry import find


def learn(name, images, steps):
    torch.manual_seed(0)
    net = build(find(name).make("tiny"), CLASSES).train()
    optimizer = torch.optim.SGD(net.parameters(), 0.02, 0.9, weight_decay=1e-4)
    scenes = [scene(number) for number in range(images)]
    totals = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * min(1, (step + 1) / 20) * (0.1 if step > 0.8 * steps else 1)
        drawn = [scenes[(2 * step + k) % images] for k in range(min(2, images))]
        losses = net([image for image, _ in drawn], [target for _, target in drawn])
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10)
        optimizer.step()
        totals.append(loss.item())
    assert sum(totals[-10:]) < 0.5 * sum(totals[:10])
    return net.eval(), scenes


def check(net, scenes):
    for image, target in scenes:
        with torch.no_grad():
            found = net([image], [target])[0]
        fits = box_iou(target.boxes, found.boxes) * (target.labels[:, None] == found.labels) * (found.scores > 0.3)
        best = fits.max(1)
        assert (best.values >= 0.75).all()
        if found.masks is not None:
            for number, own in enumerate(best.indices.tolist()):
                truth = pack(mask_pixels(target.masks[number], target.size).copy())
                assert rle.iou([found.masks[own]], [truth], [0])[0, 0] >= 0.75


def test_one_image_by_heart():
    check(*learn("md18_r50_base", 1, 150))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "md19_r50_fpn",
        "md19_r50_cascade",
        "md19_r50_strong",
        "md18_r50_lsh",
        "md19_seg_maskcascade",
        "lt_r50_htc",
        "mm_decoupled",
        "mm_cascade4",
    ],
)
def test_each_family_learns_one_image_by_heart(name):
    check(*learn(name, 1, 150))


@pytest.mark.slow
def test_eight_images_by_heart():
    check(*learn("md18_r50_base", 8, 400))

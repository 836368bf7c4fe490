"""What only a GPU can show: the same losses as on a CPU, half precision, synchronised batch norm."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from torch import nn

from tests.zoo.nn.cases import CLASSES, batch
from zoo.config import replace
from zoo.models import build
from zoo.registry import find

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def model(name, device):
    torch.manual_seed(0)
    return build(find(name).make("tiny"), CLASSES).to(device).train()


@pytest.mark.parametrize("name", ["md18_r50_lsh", "md19_r50_strong", "md19_seg_maskcascade"])
def test_losses_are_those_of_the_cpu(name):
    images, targets = batch(1, 2)
    one, other = (model(name, device)(images, targets) for device in ("cpu", "cuda"))
    for key in ("rpn_objectness", "rpn_box"):  # later ones hang on ties among proposals
        assert other[key].item() == pytest.approx(one[key].item(), rel=1e-2), key
    sum(other.values()).backward()
    assert all(loss.isfinite() for loss in other.values())


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision(kind):
    net = model("md19_r50_strong", "cuda")
    images, targets = batch(1, 2)
    with torch.autocast("cuda", kind):
        losses = net(images, targets)
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    with torch.no_grad(), torch.autocast("cuda", kind):
        found = net.eval()(images, targets)
    assert all(own.boxes.isfinite().all() for own in found)


def test_synchronised_batch_norm():
    config = find("md19_r50_fpn").make("tiny")
    config = replace(config, backbone=replace(config.backbone, norm="syncbn"))
    net = build(config, CLASSES, "cuda").train()
    assert any(isinstance(module, nn.SyncBatchNorm) for module in net.modules())
    sum(net(*batch(1, 2)).values()).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())

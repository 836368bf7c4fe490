"""What a step of training costs: each family for long tails beside plain Mask R-CNN, and 1,203 categories at full size.

    QUORUM_THREADS=1 python -m benchmarks.zoo_cost [--full ab_repr]

Four tables: a step of the tiny forms on two images of 128 pixels; a step at full size with 1,203 categories on one
image of 256 pixels, torchvision's Mask R-CNN beside ours; the same with 500 categories for the decoupling head beside
the plain one; and the mask predictor of 1,203 categories on 128 regions,
the channels of the true categories alone beside all of them. Each row has a process of its own, one thread, no
pre-trained weights. CPU seconds are those of the second of two steps; memory is the largest that was resident, above
what the libraries take, weights, gradients and momentum of the optimizer included.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn

from benchmarks.measure import cpu, memory_kilobytes, reset_peak
from fusion.printed_table import PrintedTable
from zoo.config import Model, Norm, Timm, replace
from zoo.data import Target, open_data
from zoo.data.masks import mask_pixels
from zoo.models import build
from zoo.nn.mask_head import logits_of
from zoo.registry import find

TINY = ("md18_r50_base", "lt_r50_eql", "lt_r50_htc", "lt_s101", "lt_s101_gs_hm", "lt_s269_full", "ab_repr", "ab_double")
FULL = ("torchvision", "lt_r50_mask", "lt_r50_htc", "lt_s101", "lt_s101_gs_hm")
DECOUPLED = ("mm_r50_plain", "mm_r50_dh")
CATEGORIES = 1203
OPEN_IMAGES = 500
REGIONS = 128


def main() -> None:
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", nargs="*", default=FULL, help="variants at full size")
    full: list[str] = list(parser.parse_args().full)
    _print("tiny form, two images of 128 pixels, 3 categories", TINY, _tiny)
    _print(f"full size, an image of 256 pixels, {CATEGORIES:,} categories", full, _full)
    title = f"full size, an image of 256 pixels, {OPEN_IMAGES} categories"
    _print(title, DECOUPLED, partial(_full, categories=OPEN_IMAGES))
    _print(f"mask predictor, {REGIONS} regions, {CATEGORIES:,} categories", ("all channels", "true ones"), _predictor)


def _print(title: str, names: tuple[str, ...] | list[str], measure: Callable[[str], tuple[float, float]]) -> None:
    table = PrintedTable.of((title, "CPU s", "times", "MB", "times"), ())
    first: tuple[float, float] | None = None
    for name in names:
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            seconds, megabytes = alone.submit(measure, name).result()
        first = first or (seconds, megabytes)
        table.rows.append(
            [name, f"{seconds:.2f}", f"{seconds / first[0]:.2f}", f"{megabytes:,.0f}", f"{megabytes / first[1]:.2f}"]
        )
        print(f"{title}: {table.rows[-1]}", flush=True)
    print(f"\n{table.to_markdown()}\n")


def _tiny(name: str) -> tuple[float, float]:
    config = find(name).make("tiny")
    assert isinstance(config, Model)
    return _steps(lambda: build(config, 3, pretrained=False), "scenes:2,128,0,categories=3")


def _full(name: str, categories: int = CATEGORIES) -> tuple[float, float]:
    spec = "scenes:1,256,0,categories=3"
    if name == "torchvision":
        sizes = {"min_size": 256, "max_size": 256}
        return _steps(
            lambda: maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=categories + 1, **sizes),
            spec,
            _as_torchvision,
        )
    config = find(name).make()
    assert isinstance(config, Model)
    assert isinstance(config.backbone, Timm)
    # batch norm as torchvision's, but for split attention, which has one value of each channel for one image
    norm: Norm = "gn" if config.backbone.name.startswith("resnest") else "bn"
    live = replace(config, backbone=replace(config.backbone, pretrained=False, norm=norm, frozen_stages=0))
    return _steps(lambda: build(live, categories, pretrained=False), spec)


def _as_torchvision(target: Target) -> dict[str, Tensor]:
    masks = [torch.from_numpy(mask_pixels(mask, target.size).copy()) for mask in target.masks or ()]
    return {"boxes": target.boxes, "labels": target.labels, "masks": torch.stack(masks)}


def _steps(
    make: Callable[[], nn.Module], spec: str, like: Callable[[Target], Any] = lambda target: target
) -> tuple[float, float]:
    """Return CPU seconds of a step and the memory of all, in MB."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = open_data(spec)
    pairs = [data.load(index) for index in range(len(data))]
    images = [image.float() / 255 for image, _ in pairs]
    targets = [like(target) for _, target in pairs]
    reset_peak()
    before = memory_kilobytes("VmRSS")
    net = make().train()
    optimizer = torch.optim.SGD(net.parameters(), 1e-6, 0.9)

    def step() -> None:
        losses: dict[str, Tensor] = net(images, targets)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()

    step()
    return cpu(step, 1), (memory_kilobytes("VmHWM") - before) / 1024


def _predictor(kind: str) -> tuple[float, float]:
    """Return CPU seconds and memory, in MB, of the last layer of the mask head forwards and backwards."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer = nn.Conv2d(256, CATEGORIES, 1)
    features = torch.randn(REGIONS, 256, 28, 28, requires_grad=True)
    labels = torch.randint(1, CATEGORIES + 1, (REGIONS,))
    reset_peak()
    before = memory_kilobytes("VmRSS")

    def step() -> None:
        if kind == "true ones":
            chosen = logits_of(features, layer, labels)
        else:
            chosen = layer(features)[torch.arange(REGIONS), labels - 1]
        chosen.square().mean().backward()

    step()
    return cpu(step, 1), (memory_kilobytes("VmHWM") - before) / 1024


if __name__ == "__main__":
    main()

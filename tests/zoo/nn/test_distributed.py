"""Two processes with an image each learn what one learns from both."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

import torch.distributed as dist
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from tests.zoo.nn.cases import CLASSES, batch
from tests.zoo.nn.test_two_stage import DECOUPLED
from zoo.config import CropSegmenter, GroupSoftmax, Model, Refiner, Seesaw, Timm, WeakSupervision
from zoo.data.counts import CategoryCounts
from zoo.models import build
from zoo.nn.classifiers import teach_counts
from zoo.registry import find
from zoo.scale import tiny

CONFIGS = {name: find(name).make("tiny") for name in ("md19_seg_maskcascade", "md19_r50_strong", "ab_repr")}
CONFIGS["groups"] = tiny(Model(classifier=GroupSoftmax(bounds=(10,))))
CONFIGS["seesaw"] = tiny(Model(classifier=Seesaw()))
CONFIGS["refiner"] = tiny(Refiner())
CONFIGS["crops"] = tiny(CropSegmenter(backbone=Timm(branches=True, norm="gn")))
CONFIGS["decoupled"] = DECOUPLED
CONFIGS["weak"] = tiny(Model(weak=WeakSupervision()))
COUNTS = CategoryCounts(100, torch.tensor([3, 3, 30]), torch.tensor([3, 3, 30]))


def images_and_targets(name, numbers):
    images, targets = batch(*numbers)
    for target in targets:
        if target.image_id == 2:  # no object: heads for masks and boxes have nothing to learn here
            target.boxes, target.labels, target.masks = target.boxes[:0], target.labels[:0], []
            target.box_weight = target.box_weight[:0]
            if name == "weak":
                target.labels_only, target.image_labels = True, torch.tensor([True, False, True])
    return images, targets


def model(name):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = build(CONFIGS[name], CLASSES).train()
    teach_counts(net, COUNTS)
    return net


def gradients(net):
    return {name: parameter.grad for name, parameter in net.named_parameters() if parameter.requires_grad}


def one_of_two(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for name in CONFIGS:
        net = model(name)
        wrapped = DistributedDataParallel(net)
        sum(wrapped(*images_and_targets(name, [1 + rank])).values()).backward()
        torch.save(gradients(net), f"{folder}/{name}-{rank}.pt")
    dist.destroy_process_group()


def test_gradients_of_two_processes(tmp_path):
    multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    for name in CONFIGS:
        net = model(name)
        sum(net(*images_and_targets(name, [1, 2])).values()).backward()
        expected = gradients(net)
        for rank in range(2):
            found = torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True)
            assert found.keys() == expected.keys()
            for key, gradient in expected.items():
                assert torch.allclose(found[key], gradient, atol=1e-5, rtol=1e-3), f"{name} {key}"

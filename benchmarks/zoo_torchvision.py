"""Our Faster R-CNN and Mask R-CNN beside torchvision's: same data, order, schedule, backbone and pyramid, same start.

    QUORUM_THREADS=1 python -m benchmarks.zoo_torchvision [--steps 400] [--seeds 0]

Both sides are the zoo's tiny models on rendered pictures of 96 pixels: torchvision's gets our backbone, pyramid
and RPN with equal weights, and as many anchors, regions and channels. What remains its own: rounded anchors, unaligned
RoIAlign, losses, initial weights of heads, masks as pixels. Each step is made by both on the same batch, one after
the other, and timed without loading data and without making torchvision's pixels of our run lengths; ours draws
its mask targets within the time. Then full-size steps (ResNet-50, 80 categories, one picture of 256 pixels). Peak
memory is that of a process of its own for each, above what it has after the model is built; Linux only.
"""

import argparse
import copy
import multiprocessing
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign

from benchmarks.measure import memory_kilobytes, reset_peak
from evaluation import Coco, prepare
from evaluation.comparison import compare
from evaluation.statistics import bootstrap
from fusion.table import Metadata
from zoo.cli.common import use_threads
from zoo.config import FCHead, Model, with_field
from zoo.data import Data, Target, TrainSet, collate, epoch_order, open_data
from zoo.data.masks import mask_pixels, pack
from zoo.feed import Feed, Position, Share
from zoo.inference import Inference
from zoo.models import build
from zoo.nn.detections import Detections, rescaled
from zoo.nn.fpn import STRIDES
from zoo.rcnn import TwoStage
from zoo.registry import find
from zoo.runs import Identity
from zoo.schedule import schedule_of
from zoo.trained import TrainedFinder
from zoo.training import optimizer_of
from zoo.views import views_of

_KINDS = {"Faster R-CNN": "md19_r50_fpn", "Mask R-CNN": "md18_r50_base"}
_SIZES = {"data.short": [96], "data.long": 128}
_LARGE = {
    "backbone.pretrained": False,
    "backbone.norm": "gn",
    "backbone.frozen_stages": 0,
    "data.short": [256],
    "data.long": 256,
    "train.batch": 1,
}
Batch = tuple[list[Tensor], list[Target]]


class Features(nn.Module):
    """Our backbone and pyramid, as torchvision wants them."""

    def __init__(self, model: TwoStage) -> None:
        super().__init__()
        self.backbone, self.neck = copy.deepcopy(model.backbone), copy.deepcopy(model.neck)
        self.out_channels = model.config.neck.channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Return P2-P6 by name."""
        return OrderedDict((str(level), features) for level, features in enumerate(self.neck(self.backbone(images))))


class _Padded(GeneralizedRCNNTransform):
    """Pixels are normalised and pictures padded; their sizes are those of the batch already."""

    def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        """Leave both as they are."""
        return image, target


class Peer(nn.Module):
    """torchvision's detector with the settings of ours; takes and gives what ours does.

    Its backbone and pyramid are also there under our names, so that it takes the weights that ours takes.
    """

    boxes_given = "never"
    moves_boxes = False

    def __init__(self, model: TwoStage) -> None:
        super().__init__()
        config, classes, channels = model.config, model.num_classes + 1, model.config.neck.channels
        assert isinstance(config.head, FCHead)
        rpn, cascade = config.rpn, config.cascade
        anchors = tuple(tuple(int(stride * scale) for scale in rpn.scales) for stride in STRIDES)
        settings: dict[str, Any] = {
            "rpn_anchor_generator": AnchorGenerator(anchors, (rpn.ratios,) * len(anchors)),
            "rpn_pre_nms_top_n_train": rpn.before_nms[0],
            "rpn_pre_nms_top_n_test": rpn.before_nms[1],
            "rpn_post_nms_top_n_train": rpn.after_nms[0],
            "rpn_post_nms_top_n_test": rpn.after_nms[1],
            "rpn_nms_thresh": rpn.nms_iou,
            "rpn_fg_iou_thresh": rpn.positive_iou,
            "rpn_bg_iou_thresh": rpn.negative_iou,
            "rpn_batch_size_per_image": rpn.samples,
            "box_roi_pool": MultiScaleRoIAlign(["0", "1", "2", "3"], config.pool.size, config.pool.sampling),
            "box_head": TwoMLPHead(channels * config.pool.size**2, config.head.channels),
            "box_predictor": FastRCNNPredictor(config.head.channels, classes),
            "box_score_thresh": config.infer.score,
            "box_nms_thresh": config.infer.nms_iou,
            "box_detections_per_img": config.infer.detections,
            "box_fg_iou_thresh": cascade.iou[0],
            "box_bg_iou_thresh": cascade.iou[0],
            "box_batch_size_per_image": config.sampling.rois,
            "box_positive_fraction": config.sampling.positives,
        }
        if config.mask is None:
            self.net = FasterRCNN(Features(model), **settings)
        else:
            mask = config.mask
            self.net = MaskRCNN(
                Features(model),
                mask_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], mask.pool.size, mask.pool.sampling),
                mask_head=MaskRCNNHeads(channels, (mask.width,) * mask.convs, 1),
                mask_predictor=MaskRCNNPredictor(mask.width, mask.width, classes),
                **settings,
            )
        self.backbone, self.neck = self.net.backbone.backbone, self.net.backbone.neck
        colours = [model.get_buffer(name).flatten().tolist() for name in ("mean", "std")]
        self.net.transform = _Padded(1, 1, *colours)
        head = self.net.rpn.head  # the number of positives, and with it the time of a step, depends on its weights
        for own, other in ((head.conv[0][0], "conv"), (head.cls_logits, "objectness"), (head.bbox_pred, "deltas")):
            own.load_state_dict(getattr(model.rpn, other).state_dict())

    def forward(self, images: list[Tensor], targets: Any, given: None = None) -> Any:
        """Return losses in training, else the detections of each image."""
        if self.training:
            return self.net(images, targets if isinstance(targets[0], dict) else _as_pixels((images, targets))[1])
        batch, _ = self.net.transform(images)
        features = self.net.backbone(batch.tensors)
        proposals, _ = self.net.rpn(batch, features)
        found, _ = self.net.roi_heads(features, proposals, batch.image_sizes)
        return [_detections(one, target) for one, target in zip(found, targets, strict=True)]


def _detections(found: dict[str, Tensor], target: Target) -> Detections:
    boxes = rescaled(found["boxes"], target.size, target.original_size)
    masks = None
    if "masks" in found:
        pasted = paste_masks_in_image(found["masks"], boxes, target.original_size)[:, 0] > 0.5
        masks = [pack(mask.numpy()) for mask in pasted]
    return Detections(boxes, found["scores"], found["labels"], masks)


def _as_pixels(batch: Batch) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Return a batch as torchvision wants it."""
    images, targets = batch
    rows = []
    for target in targets:
        rows.append({"boxes": target.boxes, "labels": target.labels})
        if target.masks is not None:
            pixels = [mask_pixels(mask, target.size) for mask in target.masks]
            dense = np.stack(pixels) if pixels else np.zeros((0, *target.size), np.uint8)
            rows[-1]["masks"] = torch.from_numpy(dense)
    return images, rows


class Side:
    """One of the two models in training."""

    def __init__(self, model: nn.Module, config: Model, steps_per_epoch: float) -> None:
        self.model, self.clip = model.train(), config.train.clip
        self.optimizer = optimizer_of(model, config.train)
        self.schedule = schedule_of(config.train, steps_per_epoch)
        self.seconds: list[float] = []

    def step(self, number: int, batch: tuple[Any, Any]) -> None:
        """Make one step."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.at(number)
        begin = time.process_time()
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.model(*batch)
        torch.stack([value for name, value in losses.items() if not name.startswith("_")]).sum().backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.seconds.append(time.process_time() - begin)


def main() -> None:
    """Train both, and print a line for each thing measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400, help="of each training; the batch is 4 images")
    parser.add_argument("--images", type=int, default=1000, help="to train on")
    parser.add_argument("--val", type=int, default=600, help="images to measure on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--large-steps", type=int, default=5, help="steps at full size")
    options = parser.parse_args()
    use_threads()
    for kind, name in _KINDS.items():
        for seed in options.seeds:
            _compare(kind, _tiny(name, options.steps, seed), options.images, options.val)
        _tell_memory(f"{kind}, tiny", _tiny(name, options.steps, 0), 20)
        large = _changed(find(name).make("full"), _LARGE)
        ours, theirs = _train(large, _data(8, 1, size=256, categories=80), options.large_steps)
        _tell_steps(f"{kind}, ResNet-50, one picture of 256 pixels", ours, theirs)
        _tell_memory(f"{kind}, ResNet-50", large, 3)


def _tiny(name: str, steps: int, seed: int) -> Model:
    schedule = {"train.segments": [], "train.milestones": [0.75 * steps, 0.92 * steps], "train.steps": steps}
    return _changed(find(name).make("tiny"), {**_SIZES, **schedule, "train.seed": seed})


def _changed(config: Model, changes: dict[str, Any]) -> Model:
    for field, value in changes.items():
        config = with_field(config, field, value)
    return config


def _data(images: int, seed: int, size: int = 96, categories: int = 6) -> Data:
    # no groups: torchvision's training knows no regions to leave out
    return open_data(f"scenes:{images},{size},{seed},categories={categories},clutter=1,noise=.5,groups=0")


def _train(config: Model, data: Data, steps: int) -> tuple[Side, Side]:
    """Train both models on the same batches."""
    torch.manual_seed(config.train.seed)
    model = build(config, len(data.category_ids))
    torch.manual_seed(config.train.seed)
    peer = Peer(model)
    batches, length = _batches(config, data)
    sides = [Side(model, config, length), Side(peer, config, length)]
    for number in range(steps):
        batch = next(batches)
        pixels = _as_pixels(batch)
        for which in (0, 1) if number % 2 else (1, 0):
            sides[which].step(number, pixels if which else batch)
    return sides[0], sides[1]


def _batches(config: Model, data: Data) -> tuple[Iterator[Batch], float]:
    seed, size = config.train.seed, config.train.batch
    stream = config.data.step(size)[0]
    feed = Feed(Share(lambda epoch: epoch_order(data, stream, seed, epoch), size))
    loader = DataLoader(
        TrainSet(data, config.data, seed), batch_sampler=feed.micro_batches(Position()), collate_fn=collate
    )
    return iter(loader), feed.epoch_length(0) / size


def _compare(kind: str, config: Model, images: int, count: int) -> None:
    """Train, predict and measure."""
    data, val = _data(images, 100), _data(count, 101)
    ours, theirs = _train(config, data, config.train.steps or 0)
    _tell_steps(f"{kind}, tiny, seed {config.train.seed}", ours, theirs)
    identity = Identity(
        variant=kind,
        model=config.to_dict(),
        category_ids=tuple(int(i) for i in data.category_ids),
        category_names=tuple(data.category_names),
    )
    tables, rates = [], []
    for side in (ours, theirs):
        inference = Inference(
            model=TrainedFinder(network=side.model.eval(), identity=identity),  # type: ignore[arg-type]
            data=val,
            views=views_of(config),
        )
        begin = time.process_time()
        tables += inference.tables([np.arange(count)], Metadata(), lambda: None)
        rates.append(count / (time.process_time() - begin))
    print(f"  prediction: ours {rates[0]:.0f}, torchvision {rates[1]:.0f} images a CPU second")
    for what in ("bbox", "segm") if config.mask else ("bbox",):
        prepared = prepare(val.truth, Coco(iou_type=what))
        figures = [bootstrap(prepared.evaluate(table), drawn=("AP",)) for table in tables]
        shown = [f"{100 * f.intervals['AP'].value:.2f}" for f in figures]
        gain = compare(figures[1], figures[0]).figures["AP"]
        print(
            f"  {what} AP: ours {shown[0]}, torchvision {shown[1]}, difference {100 * gain.value:+.2f} "
            f"({100 * gain.low:+.2f} to {100 * gain.high:+.2f}) on {count} images",
            flush=True,
        )


def _tell_steps(what: str, ours: Side, theirs: Side) -> None:
    mine, other = (float(np.median(side.seconds[min(3, len(side.seconds) // 2) :])) for side in (ours, theirs))
    print(f"{what}: {mine:.4f} against {other:.4f} CPU seconds a step, ratio {mine / other:.2f}", flush=True)


def _tell_memory(what: str, config: Model, steps: int) -> None:
    if not Path("/proc/self/status").exists():
        return
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        mine, other = pool.starmap(_peak, [(config, which, steps) for which in (0, 1)], chunksize=1)
    print(f"{what}: peak memory of a step {mine:.0f} against {other:.0f} MiB, ratio {mine / other:.2f}", flush=True)


def _peak(config: Model, which: int, steps: int) -> float:
    """Return what some steps of one model need, in MiB."""
    use_threads()
    large = config.data.short[0] > 96
    data = _data(8, 1, size=256, categories=80) if large else _data(100, 100)
    torch.manual_seed(config.train.seed)
    model: nn.Module = build(config, len(data.category_ids))
    if which:
        model = Peer(model)  # type: ignore[arg-type]
    batches, length = _batches(config, data)
    side = Side(model, config, length)
    before = memory_kilobytes("VmRSS")
    reset_peak()
    for number in range(steps):
        batch = next(batches)
        side.step(number, _as_pixels(batch) if which else batch)
    return (memory_kilobytes("VmHWM") - before) / 1024


if __name__ == "__main__":
    main()

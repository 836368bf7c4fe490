"""The same model smaller, or from scratch."""

from typing import overload

from zoo.config import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    AnyModel,
    Backbone,
    BoxHead,
    ConvHead,
    CropSegmenter,
    DecoupledHead,
    DoubleHead,
    FCHead,
    MaskHead,
    Model,
    Norm,
    Refiner,
    ShuffleNet,
    Timm,
    replace,
)

__all__ = ["scratch", "tiny"]

_CHANNELS = 32
_HIDDEN = 64
_BATCH = 4


@overload
def tiny(model: Model) -> Model: ...


@overload
def tiny(model: Refiner) -> Refiner: ...


@overload
def tiny(model: CropSegmenter) -> CropSegmenter: ...


def tiny(model: AnyModel) -> AnyModel:
    """Return a model with the same parts, small enough to train on a CPU: 128-pixel images, 0.1 s a step.

    Args:
        model: At full scale.

    Returns:
        A model that starts from scratch, without frozen stages; synchronised batch norm becomes plain batch norm,
        and frozen batch norm group norm.
    """
    streams = tuple(replace(stream, images=_BATCH // len(model.data.streams)) for stream in model.data.streams)
    data = replace(model.data, short=(128,), short_range=False, long=160, streams=streams)
    falls = model.train.poly is None and model.train.cosine is None
    train = replace(
        model.train,
        batch=_BATCH,
        reference_batch=_BATCH,
        learning_rate=0.02 if model.train.optimizer == "sgd" else model.train.learning_rate,
        segments=(600, 200) if falls else (),
        milestones=(),
        unit="step",
        steps=None if falls else 800,
        epochs=None,
        warmup_steps=50,
        clip=10.0,
        init_from=None,
        init_anew=(),
        checkpoint_steps=100,
    )
    infer = replace(model.infer, detections=min(model.infer.detections, 50), short=None, long=None)
    backbone = _tiny_backbone(model.backbone)
    if isinstance(model, CropSegmenter):
        return _tiny_crops(replace(model, backbone=backbone, train=train), model.train.learning_rate)
    neck = replace(model.neck, channels=_CHANNELS, aspp=_CHANNELS // 4, nas=min(model.neck.nas, 2))
    pool = replace(model.pool, hidden=_HIDDEN)
    match model:
        case Refiner():
            return replace(
                model,
                backbone=backbone,
                neck=neck,
                pool=pool,
                channels=_HIDDEN,
                sampling=replace(model.sampling, rois=32),
                data=data,
                train=train,
                infer=infer,
            )
        case Model():
            rpn = model.rpn
            return replace(
                model,
                backbone=backbone,
                neck=neck,
                rpn=replace(
                    rpn,
                    channels=_CHANNELS,
                    scales=tuple(scale / 2 for scale in rpn.scales),
                    samples=64,
                    before_nms=(128, 128),
                    after_nms=(128, 64),
                    forced_anchors=min(rpn.forced_anchors, 8),
                    high_iou=replace(rpn.high_iou, per_box=16) if rpn.high_iou else None,
                ),
                sampling=replace(model.sampling, rois=32),
                pool=pool,
                head=_tiny_head(model.head),
                mask=_tiny_mask(model.mask) if model.mask else None,
                weak=replace(model.weak, rois=64) if model.weak else None,
                stuff=replace(model.stuff, classes=5, convs=2, width=_CHANNELS) if model.stuff else None,
                data=data,
                train=train,
                infer=infer,
            )


def scratch(model: Model) -> Model:
    """Return a model that does not start from pre-trained weights.

    Frozen norms and stages cannot train then: group norm everywhere, nothing frozen, a schedule three times as long
    and clipped gradients.
    """
    backbone = replace(model.backbone, norm="gn", frozen_stages=0)
    if isinstance(backbone, Timm):
        backbone = replace(backbone, pretrained=False)
    train = model.train
    return replace(
        model,
        backbone=backbone,
        neck=replace(model.neck, norm="gn"),
        train=replace(
            train,
            segments=tuple(3 * length for length in train.segments),
            milestones=tuple(3 * place for place in train.milestones),
            steps=3 * train.steps if train.steps is not None else None,
            epochs=3 * train.epochs if train.epochs is not None else None,
            warmup_steps=max(train.warmup_steps, 1000),
            clip=35.0,
        ),
    )


def _tiny_crops(model: CropSegmenter, rate: float) -> CropSegmenter:
    """Return it with crops of a quarter of their sides, though at least 48 pixels, more of them, and its own rate."""
    data, train, infer = model.data, model.train, model.infer
    if not data.streams:
        train = replace(train, batch=2 * _BATCH, reference_batch=2 * _BATCH)

    def less(side: int) -> int:
        return max(side // 4, 48)

    return replace(
        model,
        data=replace(data, short=tuple(map(less, data.short)), long=less(data.long)),
        train=replace(train, learning_rate=rate),
        infer=replace(
            infer,
            short=None if infer.short is None else tuple(map(less, infer.short)),
            long=None if infer.long is None else less(infer.long),
        ),
    )


def _tiny_backbone(backbone: Backbone) -> Backbone:
    norm: Norm = "bn" if backbone.norm in ("bn", "syncbn") else "gn"
    match backbone:
        case Timm():
            split, squeezed = backbone.name.startswith("resnest"), backbone.name.startswith(("se", "legacy_se"))
            name = "hrnet_w18_small" if backbone.branches else "resnest14d" if split else "test_resnet"
            return replace(
                backbone,
                name=name,
                width=0.25 if split else 1.0,
                depths=None,
                squeeze=backbone.squeeze or squeezed,
                pretrained=False,
                norm=norm,
                frozen_stages=0,
                mean=IMAGENET_MEAN,
                std=IMAGENET_STD,
            )
        case ShuffleNet():
            return replace(backbone, size="tiny", norm=norm, frozen_stages=0)


def _tiny_head(head: BoxHead) -> BoxHead:
    match head:
        case ConvHead():
            return replace(head, channels=_HIDDEN, width=_CHANNELS, convs=min(head.convs, 2))
        case DoubleHead():
            return replace(head, channels=_HIDDEN, width=_CHANNELS, convs=min(head.convs, 2))
        case DecoupledHead():
            return replace(head, channels=_HIDDEN, hidden=_HIDDEN)
        case FCHead():
            return replace(head, channels=_HIDDEN, width=_CHANNELS)


def _tiny_mask(mask: MaskHead) -> MaskHead:
    iou = replace(mask.iou, width=_CHANNELS, channels=_HIDDEN) if mask.iou else None
    return replace(mask, pool=replace(mask.pool, hidden=_HIDDEN), convs=mask.convs // 2, width=_CHANNELS, iou=iou)

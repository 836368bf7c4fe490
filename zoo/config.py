"""Configs of detectors and segmenters: frozen dataclasses, each default in one place, no strings that name classes.

A variant is a `Model`; one that differs in a detail is `replace(model, ...)` of it, and `diff` says what differs.
Comments name the sources: a report (zoo/variants), "public" for what papers and public code agree on, "ours" where
neither says anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from fusion.errors import InputError
from zoo.fields import diff, from_dict, to_dict, with_field

__all__ = [
    "FPN",
    "RPN",
    "AnyModel",
    "Backbone",
    "BoxHead",
    "Cascade",
    "ClassAware",
    "Classifier",
    "ConvHead",
    "CosineSoftmax",
    "DeformConv",
    "EdgeLoss",
    "EqualizedSigmoid",
    "FCHead",
    "HighIoU",
    "Infer",
    "MaskHead",
    "MaskIoU",
    "Model",
    "Norm",
    "Refiner",
    "RoIPool",
    "Sampling",
    "ShuffleNet",
    "SoftNMS",
    "Softmax",
    "Stream",
    "StuffHead",
    "TauSoftmax",
    "Timm",
    "Train",
    "TrainData",
    "diff",
    "from_dict",
    "read_model",
    "replace",
    "to_dict",
    "with_field",
]

Norm = Literal["frozen", "bn", "syncbn", "gn"]


@dataclass(frozen=True, kw_only=True)
class DeformConv:
    """Deformable 3x3 convolutions in the named stages of a backbone (stage 2 ends at stride 4, stage 5 at stride 32).

    Attributes:
        stages: Stages whose 3x3 convolutions are replaced.
        modulated: Also predict a factor per sampling point (version 2); False is version 1.
    """

    stages: tuple[int, ...] = (3, 4, 5)
    modulated: bool = True


@dataclass(frozen=True, kw_only=True)
class Timm:
    """A backbone of timm with four maps of strides 4, 8, 16 and 32.

    Attributes:
        name: timm's name of the network.
        pretrained: Load timm's ImageNet weights.
        norm: What its batch norms become. "frozen" keeps statistics and weights as loaded.
        frozen_stages: 0 trains everything, 1 freezes the stem, 2 the stem and stage 2, and so on.
        deform: Deformable convolutions, or None.
        squeeze: Squeeze-and-excitation in the blocks of a ResNet: one reading of "global information".
    """

    name: str = "resnet50"
    pretrained: bool = True
    norm: Norm = "frozen"
    frozen_stages: int = 2
    deform: DeformConv | None = None
    squeeze: bool = False


@dataclass(frozen=True, kw_only=True)
class ShuffleNet:
    """The large ShuffleNetV2 that Megvii published; the reports do not name a size.

    Attributes:
        size: "large" (100 M parameters), "exlarge", or "tiny" for tests.
        norm: What its batch norms become.
        frozen_stages: As in `Timm`.
        deform: Deformable convolutions, or None.
    """

    size: Literal["large", "exlarge", "tiny"] = "large"
    norm: Norm = "frozen"
    frozen_stages: int = 2
    deform: DeformConv | None = None


Backbone = Timm | ShuffleNet


@dataclass(frozen=True, kw_only=True)
class FPN:
    """The feature pyramid P2-P6.

    Attributes:
        channels: Channels of every level.
        norm: Normalisation after each of its convolutions.
        out: The 3x3 convolution of each output; "deform" is megdetv2's deformable FPN (its reading is ours).
        lateral: The lateral convolutions; "deform3x3" is the other reading of the same row.
        context: What is added to the lateral of C5 from its global average: "c5_add" a 1x1 convolution of the
            average, "gc" a global-context block; both ours, the figure of megvii2018 is lost.
        passes: Times that the trunk runs, each but the first fed with the pyramid of the one before (a recursive
            pyramid that shares the trunk's weights; where it is fed in is ours).
    """

    channels: int = 256
    norm: Literal["none", "gn"] = "none"
    out: Literal["conv", "deform"] = "conv"
    lateral: Literal["conv1x1", "deform3x3"] = "conv1x1"
    context: Literal["none", "c5_add", "gc"] = "none"
    passes: int = 1


Task = Literal["proposals", "classes", "boxes", "masks", "stuff"]


@dataclass(frozen=True, kw_only=True)
class HighIoU:
    """Sampling of proposals by their IoU with the ground truth in training (megdetv2, sec. 2.2.1).

    Attributes:
        nms_iou: The relaxed NMS threshold (ours), also used at test.
        per_box: The most proposals above IoU 0.5 that one ground-truth box keeps (ours).
    """

    nms_iou: float = 0.9
    per_box: int = 64


@dataclass(frozen=True, kw_only=True)
class RPN:
    """The region proposal network.

    Attributes:
        channels: Channels of its 3x3 convolution.
        scales: Anchor sides in strides of their level.
        ratios: Heights over widths of the anchors.
        positive_iou: Anchors at least this close to a box are positive.
        negative_iou: Anchors closer to no box than this are negative.
        forced_anchors: Best anchors of each box that are positive whatever their IoU (megdetv2, sec. 2.2.1); with 0
            only those that share the box's highest IoU.
        samples: Anchors drawn per image, up to half of them positive.
        beta: Where the smooth L1 loss becomes linear.
        before_nms: Proposals per level that enter NMS, in training and at test.
        after_nms: Proposals per image that leave it, in training and at test.
        nms_iou: NMS threshold.
        high_iou: megdetv2's high-IoU sampling, or None.
        ignore_iof: Anchors and proposals with more than this share of their area in an ignore box are no negatives.
    """

    channels: int = 256
    scales: tuple[float, ...] = (8.0,)
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    positive_iou: float = 0.7
    negative_iou: float = 0.3
    forced_anchors: int = 0
    samples: int = 256
    beta: float = 1 / 9
    before_nms: tuple[int, int] = (2000, 1000)
    after_nms: tuple[int, int] = (2000, 1000)
    nms_iou: float = 0.7
    high_iou: HighIoU | None = None
    ignore_iof: float = 0.5


@dataclass(frozen=True, kw_only=True)
class RoIPool:
    """How the features of a region are taken from the pyramid: aligned RoIAlign and what may be added to it.

    Attributes:
        size: Bins along each side.
        sampling: Sampling points along each side of a bin.
        deform: "offset" shifts each bin by a learned offset, "modulated" scales it too (deformable RoI pooling).
        gamma: Offset 1 of a bin shifts it by this share of the region's width and height.
        hidden: Width of the two layers that predict the offsets.
        levels: "assigned" pools from the level that the region's size asks for; "max" and "sum" pool from P2-P5,
            with a convolution each, and join them (megvii2018's multi-scale RoI; the operation is ours).
        context: Also pool from the region enlarged by this factor and join both by a 1x1 convolution
            (megdetv2, sec. 2.3 step 7; the factor 1.5 is ours), or None.
    """

    size: int = 7
    sampling: int = 2
    deform: Literal["none", "offset", "modulated"] = "none"
    gamma: float = 0.1
    hidden: int = 1024
    levels: Literal["assigned", "max", "sum"] = "assigned"
    context: float | None = None


@dataclass(frozen=True, kw_only=True)
class FCHead:
    """Two shared fully connected layers for classes and boxes.

    Attributes:
        channels: Width of both layers.
        class_agnostic: One box per region instead of one per class.
    """

    channels: int = 1024
    class_agnostic: bool = False


@dataclass(frozen=True, kw_only=True)
class ConvHead:
    """The location-sensitive detector: two layers for classes, stacked convolutions for boxes (megvii2018).

    Attributes:
        channels: Width of the fully connected layers.
        class_agnostic: One box per region instead of one per class.
        convs: 3x3 convolutions with group norm of the box branch (megdetv2, sec. 2.2.2: 4).
        width: Their channels.
        tail: From the last map to the box: "fc" by its flattened bins (ours), "gap" by their average.
    """

    channels: int = 1024
    class_agnostic: bool = False
    convs: int = 4
    width: int = 256
    tail: Literal["fc", "gap"] = "fc"


BoxHead = FCHead | ConvHead


@dataclass(frozen=True)
class Softmax:
    """A linear layer to the classes and background, and softmax."""


@dataclass(frozen=True)
class CosineSoftmax:
    """Softmax over scaled cosines between features and class weights (megdetv2's "normalizing the score"; ours).

    Attributes:
        scale: Factor on the cosines.
    """

    scale: float = 20.0


@dataclass(frozen=True)
class TauSoftmax:
    """Softmax whose class weights are divided by a power of their norms at test (the other reading).

    Attributes:
        tau: The power.
    """

    tau: float = 1.0


@dataclass(frozen=True, kw_only=True)
class EqualizedSigmoid:
    """A sigmoid for each category, in which objects of others teach a rare one nothing (lvistraveler, sec. 2.1; EQL).

    Attributes:
        rare: Share of images below which a category is rare (the LVIS v1 share for 796 of 1203 categories).
        verified: A category is taken for absent only in images where annotations say so: those that list it as
            negative, have an object of it or were drawn for its sake, unless they say that not all are annotated. For
            data annotated in the manner of LVIS (ours).
    """

    rare: float = 1e-3
    verified: bool = False


Classifier = Softmax | CosineSoftmax | TauSoftmax | EqualizedSigmoid


@dataclass(frozen=True, kw_only=True)
class ClassAware:
    """Positives drawn per class, by an IoU threshold of the class (megdetv2, sec. 2.2.1).

    Attributes:
        floor: The lowest IoU of a positive where the stage asks for 0.5; it moves with the stage's IoU (ours).
        mode: "threshold" takes the share alpha of each class's candidates, "quota" as many for each class.
    """

    floor: float = 0.3
    mode: Literal["threshold", "quota"] = "threshold"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which proposals a stage is trained on.

    Attributes:
        rois: Regions per image.
        positives: The largest share of positives among them.
        class_aware: megdetv2's class-aware sampling, or None.
    """

    rois: int = 512
    positives: float = 0.25
    class_aware: ClassAware | None = None


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """The stages of box heads; one stage is plain Faster R-CNN. All tuples have an entry per stage.

    Attributes:
        iou: IoU from which a proposal is positive.
        std: Divisors of the box deltas (x, y, w, h).
        loss_weight: Factor on the stage's losses.
        score_weight: Share of the stage's scores in the final ones.
        beta: Where the smooth L1 loss becomes linear.
    """

    iou: tuple[float, ...] = (0.5,)
    std: tuple[tuple[float, float, float, float], ...] = ((0.1, 0.1, 0.2, 0.2),)
    loss_weight: tuple[float, ...] = (1.0,)
    score_weight: tuple[float, ...] = (1.0,)
    beta: float = 1.0


@dataclass(frozen=True, kw_only=True)
class EdgeLoss:
    """megvii2018's mask edge loss, of which the slides only say "Sigmoid Cross Entropy".

    Attributes:
        form: "bce" predicts the edge by a layer of its own; "agreement" compares Sobel maps. Both ours.
        weight: Factor on the loss.
    """

    form: Literal["bce", "agreement"] = "bce"
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class MaskIoU:
    """The head that predicts the IoU of a mask, by which its score is multiplied (mask rescoring).

    Attributes:
        convs: 3x3 convolutions, the last with stride 2 (megdetv2: 2; public: 4).
        width: Their channels.
        channels: Width of the two fully connected layers.
        weight: Factor on half the squared error.
    """

    convs: int = 4
    width: int = 256
    channels: int = 1024
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class MaskHead:
    """The instance branch.

    Attributes:
        pool: How its regions are pooled.
        convs: 3x3 convolutions (megvii2018's heavier header: 8, ours; public: 4).
        width: Their channels.
        weight: Factor on the mask loss.
        edge: Mask edge loss, or None.
        iou: Mask rescoring, or None.
        residual: A second head that learns what the first leaves, on the same regions (megdetv2's efficient cascade).
        stages: "first" is one head, trained on the regions of the first box stage; "each" has a head after every box
            stage, trained on boxes that this one has refined, assigned and drawn anew, and takes the mean of their
            masks; the last one alone learns `iou`.
    """

    pool: RoIPool = RoIPool(size=14)
    convs: int = 4
    width: int = 256
    weight: float = 1.0
    edge: EdgeLoss | None = None
    iou: MaskIoU | None = None
    residual: bool = False
    stages: Literal["first", "each"] = "first"


@dataclass(frozen=True, kw_only=True)
class StuffHead:
    """Supervision by a map of stuff (megdetv2, sec. 3.1), used in training only.

    Attributes:
        classes: Classes of the map.
        convs: 3x3 convolutions after the levels are joined.
        width: Their channels.
        weight: Factor on the loss (public: 0.2).
    """

    classes: int = 54
    convs: int = 4
    width: int = 256
    weight: float = 0.2


Sampler = Literal["shuffle", "repeat", "class_aware"]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Images of which every step has the same number: one of several streams that a step is made of.

    Attributes:
        images: In each step, over all processes and accumulated passes.
        source: Name of the joined data set that they are from; None for all of them.
        sampler: Order of an epoch, as in `TrainData`.
        repeat_threshold: As in `TrainData`.
    """

    images: int
    source: str | None = None
    sampler: Sampler = "shuffle"
    repeat_threshold: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class TrainData:
    """What training images become, and in which order they come.

    Attributes:
        short: Lengths of the short side to draw from; with `short_range` the two ends of a range.
        short_range: Draw any length between the two of `short`.
        long: Longest side.
        flip: Probability of a horizontal flip.
        photometric: Distort brightness, contrast, saturation and hue.
        jitter: Range of a further factor on the size, followed by a crop to the size without it; None for none.
        sampler: Order of an epoch: every image once, by repeat factors of rare categories, or category by category.
        repeat_threshold: Share of images below which a category is repeated, for "repeat".
        mosaic: Chance that a sample is made of two by two pictures, partners drawn by repeat factors.
        streams: What each step is made of, in place of one `sampler`; epochs are then those of the first stream.
    """

    short: tuple[int, ...] = (800,)
    short_range: bool = False
    long: int = 1333
    flip: float = 0.5
    photometric: bool = False
    jitter: tuple[float, float] | None = None
    sampler: Sampler = "shuffle"
    repeat_threshold: float = 1e-3
    mosaic: float = 0.0
    streams: tuple[Stream, ...] = ()

    def step(self, batch: int) -> tuple[Stream, ...]:
        """Return the streams that a step of so many images is made of."""
        one = Stream(images=batch, sampler=self.sampler, repeat_threshold=self.repeat_threshold)
        return self.streams or (one,)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Optimiser and schedule. `segments` says when training ends; without them `steps` or `epochs` does.

    Attributes:
        steps: Length in steps.
        epochs: Length in passes over the data.
        batch: Images per step, over all processes and accumulated passes.
        reference_batch: Images per step that `learning_rate` is for; it scales linearly with `batch`.
        learning_rate: The rate after warm-up.
        momentum: Of SGD.
        nesterov: Look ahead.
        weight_decay: Of weights.
        norm_decay: Of the weights of norms and of biases; None is the same as `weight_decay`.
        segments: Steps (or epochs) at each rate: (60000, 20000, 10000) ends at 90000.
        milestones: Where the rate falls; excludes `segments` and `poly`.
        poly: Power of a polynomial decay instead.
        unit: Of segments and milestones.
        gamma: Factor on the rate at each fall.
        warmup_steps: Steps of linear warm-up.
        warmup_factor: Share of the rate at its start.
        accumulate: Forward passes per step.
        clip: Largest norm of the gradient, or None.
        ema: Decay of the averaged copy, or None.
        precision: Of the forward pass where it may be lowered.
        seed: Of every random draw.
        checkpoint_steps: Steps between checkpoints.
        keep_epochs: Epochs whose weights are kept, to be averaged.
        init_from: Checkpoint whose fitting tensors are loaded first (pre-training on another data set), or None.
        freeze: Patterns of names of parameters that are not trained.
    """

    steps: int | None = None
    epochs: float | None = None
    batch: int = 16
    reference_batch: int = 16
    learning_rate: float = 0.02
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    norm_decay: float | None = None
    segments: tuple[int, ...] = (60000, 20000, 10000)
    milestones: tuple[float, ...] = ()
    poly: float | None = None
    unit: Literal["step", "epoch"] = "step"
    gamma: float = 0.1
    warmup_steps: int = 500
    warmup_factor: float = 0.001
    accumulate: int = 1
    clip: float | None = None
    ema: float | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    seed: int = 0
    checkpoint_steps: int = 500
    keep_epochs: tuple[int, ...] = ()
    init_from: str | None = None
    freeze: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SoftNMS:
    """Soft-NMS instead of NMS.

    Attributes:
        method: How the scores of overlapping boxes decay.
        iou: Threshold of the linear method.
        sigma: Width of the Gaussian.
    """

    method: Literal["linear", "gaussian"] = "linear"
    iou: float = 0.5
    sigma: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Infer:
    """From predictions to detections.

    Attributes:
        score: Boxes below are dropped.
        nms_iou: NMS threshold within a class.
        soft_nms: Soft-NMS in its place, or None.
        detections: The most per image.
        mask: Probability from which a pixel belongs to a mask.
        short: Lengths of the short side, a view each.
        long: Longest side.
        flip: Also look at each view flipped.
    """

    score: float = 0.05
    nms_iou: float = 0.5
    soft_nms: SoftNMS | None = None
    detections: int = 100
    mask: float = 0.5
    short: tuple[int, ...] = (800,)
    long: int = 1333
    flip: bool = False


@dataclass(frozen=True, kw_only=True)
class Model:
    """A two-stage detector, or segmenter where it has a mask head.

    Attributes:
        backbone: Image to C2-C5.
        neck: C2-C5 to P2-P6.
        own_necks: Tasks that get a pyramid of their own, made like `neck`.
        rpn: Pyramid to proposals.
        sampling: Proposals to training regions.
        pool: Regions to features, for the box heads.
        head: Features to class and box features.
        classifier: Class features to scores.
        cascade: Stages of heads.
        mask: Instance branch, or None.
        stuff: Stuff supervision, or None.
        data: Training images.
        train: Optimiser and schedule.
        infer: Test settings.
    """

    backbone: Backbone = Timm()
    neck: FPN = FPN()
    own_necks: tuple[Task, ...] = ()
    rpn: RPN = RPN()
    sampling: Sampling = Sampling()
    pool: RoIPool = RoIPool()
    head: BoxHead = FCHead()
    classifier: Classifier = Softmax()
    cascade: Cascade = Cascade()
    mask: MaskHead | None = None
    stuff: StuffHead | None = None
    data: TrainData = TrainData()
    train: Train = Train()
    infer: Infer = Infer()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with the class of each union member under "kind"."""
        return to_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Model":
        """Read what `to_dict` gave.

        Raises:
            InputError: If a field is unknown or does not fit.
        """
        model = from_dict(cls, values)
        assert isinstance(model, cls)
        return model

    def diff(self, other: "Model") -> dict[str, tuple[Any, Any]]:
        """Return the fields in which two models differ, as {path: (of this one, of the other one)}."""
        return diff(self, other)

    def validate(self, device: str = "cuda") -> "Model":
        """Check that the parts fit together.

        Args:
            device: Where it is to run: synchronised batch norm needs "cuda".

        Returns:
            The model itself.

        Raises:
            InputError: With the field and what to change.
        """
        _validate(self, device)
        stages = len(self.cascade.iou)
        if stages > 1 and not self.head.class_agnostic:
            raise InputError(
                "head.class_agnostic", f"a cascade of {stages} stages refines one box per region", "Set it to true"
            )
        if isinstance(self.head, FCHead) and len({"classes", "boxes"} & set(self.own_necks)) > 0:
            raise InputError(
                "own_necks",
                "FCHead takes classes and boxes from the same features",
                "Take a ConvHead, or leave them out",
            )
        return self


@dataclass(frozen=True, kw_only=True)
class Refiner:
    """A model that moves boxes it is given; their categories and scores stay (mmfruit-openimages2019, sec. 8.1).

    Attributes:
        backbone: Image to C2-C5.
        neck: C2-C5 to P2-P6.
        pool: Regions to features.
        channels: Width of the two fully connected layers of each stage.
        cascade: Stages of regressors; IoU thresholds and stds of Cascade R-CNN (ours).
        sampling: Which of the shaken boxes a stage is trained on.
        copies: Shaken copies of each object (ours).
        shake: Standard deviations of their shifts in widths and heights, and of the logarithms of their sizes (ours).
        data: Training images.
        train: Optimiser and schedule.
        infer: Views at test; nothing is suppressed.
    """

    backbone: Backbone = Timm()
    neck: FPN = FPN()
    pool: RoIPool = RoIPool()
    channels: int = 1024
    cascade: Cascade = Cascade(
        iou=(0.5, 0.6, 0.7),
        std=((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067)),
        loss_weight=(1.0, 0.5, 0.25),
        score_weight=(1.0, 1.0, 1.0),
    )
    sampling: Sampling = Sampling(rois=128, positives=1.0)
    copies: int = 32
    shake: tuple[float, float, float, float] = (0.15, 0.15, 0.2, 0.2)
    data: TrainData = TrainData()
    train: Train = Train()
    infer: Infer = Infer()

    @property
    def mask(self) -> None:
        """It makes no masks."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with the class of each union member under "kind"."""
        return to_dict(self)

    def validate(self, device: str = "cuda") -> "Refiner":
        """Check that the parts fit together.

        Raises:
            InputError: With the field and what to change.
        """
        _validate(self, device)
        return self


AnyModel = Model | Refiner


def read_model(values: Mapping[str, Any], where: str = "config") -> AnyModel:
    """Read what `to_dict` of any model gave; without a "kind" it is a `Model`.

    Raises:
        InputError: If a field is unknown or does not fit.
    """
    kinds = {kind.__name__: kind for kind in (Model, Refiner)}
    kind = values.get("kind", "Model")
    if kind not in kinds:
        raise InputError(f"{where}.kind", f"expected one of {', '.join(kinds)}, got {kind!r}")
    model: AnyModel = from_dict(kinds[kind], values, where)
    return model


def _validate(model: AnyModel, device: str) -> None:
    stages = len(model.cascade.iou)
    for name in ("std", "loss_weight", "score_weight"):
        found = len(getattr(model.cascade, name))
        if found != stages:
            raise InputError(f"cascade.{name}", f"expected {stages} entries, one per stage of cascade.iou, got {found}")
    if model.neck.passes < 1:
        raise InputError("neck.passes", f"expected at least 1, got {model.neck.passes}")
    if model.backbone.norm == "syncbn" and device == "cpu":
        raise InputError(
            "backbone.norm",
            "synchronised batch norm runs on CUDA only",
            'Take "bn" or "gn" on a CPU',
        )
    if model.data.short_range and len(model.data.short) != 2:
        raise InputError("data.short", f"a range has two ends, got {model.data.short}")
    images = sum(stream.images for stream in model.data.step(model.train.batch))
    if images != model.train.batch:
        raise InputError(
            "data.streams", f"its streams have {images} images, a step has train.batch={model.train.batch}"
        )
    _validate_schedule(model.train)


def _validate_schedule(train: Train) -> None:
    given = [name for name in ("segments", "milestones", "poly") if getattr(train, name) not in ((), None)]
    if len(given) > 1:
        raise InputError(
            f"train.{given[-1]}",
            f"at most one of segments, milestones and poly says when the rate falls, got {' and '.join(given)}",
            "Empty the others: segments=() or milestones=()",
        )
    lengths = [name for name in ("segments", "steps", "epochs") if getattr(train, name) not in ((), None)]
    if len(lengths) != 1:
        raise InputError(
            "train",
            f"one of segments, steps and epochs says when training ends, got {' and '.join(lengths) or 'none'}",
        )
    if list(train.milestones) != sorted(set(train.milestones)):
        raise InputError("train.milestones", f"expected rising values, got {train.milestones}")
    if train.batch % train.accumulate:
        raise InputError("train.accumulate", f"{train.batch} images cannot be split into {train.accumulate} passes")

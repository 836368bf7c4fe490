"""Whole models."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fusion.errors import InputError
from zoo.config.checks import check_working
from zoo.config.classifiers import Classifier, DoubleClassifier, GroupSoftmax, SingleClassifier, Softmax
from zoo.config.features import FPN, RPN, Backbone, DecoupledBackbone, RoIPool, Task, Timm
from zoo.config.heads import BoxHead, Cascade, DecoupledHead, FCHead, MaskHead, Sampling, StuffHead, WeakSupervision
from zoo.config.working import Crop, Infer, Train, TrainData
from zoo.fields import diff, from_dict, to_dict

__all__ = ["AnyModel", "CropSegmenter", "Model", "Refiner", "read_model"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A two-stage detector, or segmenter where it has a mask head.

    Attributes:
        backbone: Image to C2-C5.
        decoupled: A backbone with a branch for classes and one for boxes, or None.
        neck: C2-C5 to P2-P6.
        own_necks: Tasks that get a pyramid of their own, made like `neck`.
        rpn: Pyramid to proposals.
        sampling: Proposals to training regions.
        pool: Regions to features, for the box heads.
        head: Features to class and box features.
        classifier: Class features to scores.
        stage_classifiers: In its place an entry for each stage; empty for the same in all.
        class_dropout: Share of the class features that training hides from the classifier (alibaba-lvis2020, sec. 4.1;
            where, and 0.5 for that report, is ours).
        cascade: Stages of heads.
        mask: Instance branch, or None.
        stuff: Stuff supervision, or None.
        weak: Weak supervision by image labels, or None.
        data: Training images.
        train: Optimiser and schedule.
        infer: Test settings.
    """

    backbone: Backbone = Timm()
    decoupled: DecoupledBackbone | None = None
    neck: FPN = FPN()
    own_necks: tuple[Task, ...] = ()
    rpn: RPN = RPN()
    sampling: Sampling = Sampling()
    pool: RoIPool = RoIPool()
    head: BoxHead = FCHead()
    classifier: Classifier = Softmax()
    stage_classifiers: tuple[Classifier, ...] = ()
    class_dropout: float = 0.0
    cascade: Cascade = Cascade()
    mask: MaskHead | None = None
    stuff: StuffHead | None = None
    weak: WeakSupervision | None = None
    data: TrainData = TrainData()
    train: Train = Train()
    infer: Infer = Infer()

    @property
    def makes_masks(self) -> bool:
        """Whether what it finds has masks."""
        return self.mask is not None

    @property
    def classifiers(self) -> tuple[Classifier, ...]:
        """The classifier of each stage."""
        return self.stage_classifiers or (self.classifier,) * len(self.cascade.iou)

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
        _validate_stages(self)
        _validate(self, device)
        stages = len(self.cascade.iou)
        if stages > 1 and not self.head.class_agnostic:
            raise InputError(
                "head.class_agnostic", f"a cascade of {stages} stages refines one box per region", "Set it to true"
            )
        if not 0 <= self.class_dropout < 1:
            raise InputError("class_dropout", f"expected a share from 0 to less than 1, got {self.class_dropout}")
        if self.mask is not None and self.mask.level != "box" and self.mask.pool.levels != "assigned":
            raise InputError(
                "mask.level",
                f"regions are pooled from all levels by mask.pool.levels={self.mask.pool.levels}",
                'Set it to "box", or mask.pool.levels to "assigned"',
            )
        if self.weak is not None:
            _validate_weak(self, self.weak)
        if self.rpn.convs < 1:
            raise InputError("rpn.convs", f"expected at least 1, got {self.rpn.convs}")
        if isinstance(self.head, FCHead) and self.head.layers < 1:
            raise InputError("head.layers", f"expected at least 1, got {self.head.layers}")
        if self.mask is not None and self.mask.flow and self.mask.stages == "first":
            raise InputError(
                "mask.flow", "one mask head has none before it", "Set mask.stages to each, or mask.flow to false"
            )
        if isinstance(self.head, DecoupledHead) and replace(self.pool, size=7, sampling=2) != RoIPool(
            gamma=self.pool.gamma, hidden=self.pool.hidden
        ):
            raise InputError(
                "pool", "a DecoupledHead shifts plain regions by itself", "Leave deform, levels, context, aligned out"
            )
        if isinstance(self.head, FCHead) and len({"classes", "boxes"} & set(self.own_necks)) > 0:
            raise InputError(
                "own_necks",
                "FCHead takes classes and boxes from the same features",
                "Take a ConvHead, or leave them out",
            )
        if self.decoupled is not None and (self.own_necks or self.neck.passes > 1):
            raise InputError(
                "decoupled",
                "its branches have pyramids of their own, of one pass",
                "Leave own_necks and neck.passes out",
            )
        if len(self.classifiers) != len(self.cascade.iou):
            problem = f"expected an entry for each of {len(self.cascade.iou)} stages, got {len(self.classifiers)}"
            raise InputError("stage_classifiers", problem)
        if any(isinstance(one, DoubleClassifier) for one in self.classifiers) and len(self.data.streams) != 2:
            raise InputError(
                "data.streams",
                f"a double classifier learns from two streams, got {len(self.data.streams)}",
                "Give one for each of its classifiers",
            )
        for one in (part for whole in self.classifiers for part in _single(whole)):
            if isinstance(one, GroupSoftmax) and list(one.bounds) != sorted(set(one.bounds)):
                raise InputError("classifier.bounds", f"expected rising numbers, got {one.bounds}")
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
    def makes_masks(self) -> bool:
        """Whether what it finds has masks."""
        return False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with the class of each union member under "kind"."""
        return to_dict(self)

    def validate(self, device: str = "cuda") -> "Refiner":
        """Check that the parts fit together.

        Raises:
            InputError: With the field and what to change.
        """
        _validate_stages(self)
        _validate(self, device)
        return self


@dataclass(frozen=True, kw_only=True)
class CropSegmenter:
    """Foreground or background for each pixel of a box that it is given (mmfruit-openimages2019, sec. 8.2).

    Objects are cut out by their boxes (`data.crop`); the backbone's four maps are brought to the size of the finest and
    joined, mixed by a 1x1 convolution with a norm, and classified by another.

    Attributes:
        backbone: Crop to four maps. Its width is ours.
        data: Crops in training: `short` and `long` are of crops.
        train: Optimiser and schedule.
        infer: Sizes of crops at test, from which probability a pixel is foreground, and with `flip` the mean of each
            crop and its mirror image.
    """

    backbone: Backbone = Timm(name="hrnet_w48.ms_in1k", branches=True, norm="syncbn", frozen_stages=0)
    data: TrainData = TrainData(crop=Crop())
    train: Train = Train()
    infer: Infer = Infer()

    @property
    def makes_masks(self) -> bool:
        """Whether what it finds has masks."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with the class of each union member under "kind"."""
        return to_dict(self)

    def validate(self, device: str = "cuda") -> "CropSegmenter":
        """Check that the parts fit together.

        Raises:
            InputError: With the field and what to change.
        """
        if self.data.crop is None:
            raise InputError("data.crop", "it learns from objects that are cut out", 'Set it to "{}"')
        _validate(self, device)
        if self.data.mosaic or self.data.instaboost is not None:
            raise InputError(
                "data.mosaic" if self.data.mosaic else "data.instaboost", "is for whole pictures", "Leave it out"
            )
        return self


AnyModel = Model | Refiner | CropSegmenter


def read_model(values: Mapping[str, Any], where: str = "config") -> AnyModel:
    """Read what `to_dict` of any model gave; without a "kind" it is a `Model`.

    Raises:
        InputError: If a field is unknown or does not fit.
    """
    kinds = {kind.__name__: kind for kind in (Model, Refiner, CropSegmenter)}
    kind = values.get("kind", "Model")
    if kind not in kinds:
        raise InputError(f"{where}.kind", f"expected one of {', '.join(kinds)}, got {kind!r}")
    model: AnyModel = from_dict(kinds[kind], values, where)
    return model


def _single(classifier: Classifier) -> tuple[SingleClassifier, ...]:
    if isinstance(classifier, DoubleClassifier):
        return classifier.first, classifier.second
    return (classifier,)


def _validate_stages(model: Model | Refiner) -> None:
    stages = len(model.cascade.iou)
    for name in ("std", "loss_weight", "score_weight"):
        found = len(getattr(model.cascade, name))
        if found != stages:
            raise InputError(f"cascade.{name}", f"expected {stages} entries, one per stage of cascade.iou, got {found}")
    if model.pool.deform != "none" and not model.pool.aligned:
        raise InputError("pool.aligned", "deformable pooling is aligned", "Set it to true, or pool.deform to none")
    if model.neck.passes < 1:
        raise InputError("neck.passes", f"expected at least 1, got {model.neck.passes}")


def _validate(model: AnyModel, device: str) -> None:
    if model.backbone.norm == "syncbn" and device == "cpu":
        raise InputError(
            "backbone.norm",
            "synchronised batch norm runs on CUDA only",
            'Take "bn" or "gn" on a CPU',
        )
    if model.data.crop is not None and not isinstance(model, CropSegmenter):
        raise InputError("data.crop", "objects are cut out for crop segmenters alone", "Set it to null")
    check_working(model.data, model.train, model.infer)


def _validate_weak(model: Model, weak: WeakSupervision) -> None:
    if model.mask is not None:
        raise InputError("weak", "objects that it mines have no masks to learn from", "Set mask to null")
    if weak.background == "none" and model.sampling.ignore_by != "iof":
        raise InputError("weak.background", "an image is ignored by shares of regions", "Set sampling.ignore_by to iof")
    if weak.rois < 1:
        raise InputError("weak.rois", f"expected at least 1, got {weak.rois}")
    if weak.warmup < 0:
        raise InputError("weak.warmup", f"expected epochs from 0, got {weak.warmup}")
    for name in ("nms_iou", "share"):
        if not 0 <= getattr(weak, name) <= 1:
            raise InputError(f"weak.{name}", f"expected a share from 0 to 1, got {getattr(weak, name)}")

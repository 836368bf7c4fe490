"""MMfruit's detectors: Tables 1 and 2 of mmfruit-openimages2019, its backbones, and what its text adds to them.

What the report leaves open is ours: the size of images in training and its longest side at test, 32 accelerators (it
says 32 to 512), the length of the warm-up, which ImageNet weights, and anchors of backbones that no table has. Adj-NMS
and the ensembles work on tables (`quorum fuse`).
"""

from collections.abc import Callable

from zoo.anchors import PRESETS
from zoo.config import (
    RPN,
    Cascade,
    DecoupledBackbone,
    DecoupledHead,
    DeformConv,
    Elaborate,
    Infer,
    Model,
    Timm,
    Train,
    TrainData,
    WeakSupervision,
    replace,
)
from zoo.registry import variant
from zoo.variants.megdetv2 import md19_r50_cascade

__all__ = [
    "mm_cascade3",
    "mm_cascade4",
    "mm_cascade4_dh",
    "mm_decoupled",
    "mm_fullclass",
    "mm_r50_dh_mt",
    "mm_wsddn",
    "mm_x50_classaware",
    "mm_x50_plain",
]

_REPORT = "mmfruit-openimages2019"
_SCALES = (600, 800, 1000, 1333, 1666, 2000)
_ACCELERATORS, _MANY_ACCELERATORS = 32, 512
_RATE = 0.004 * _ACCELERATORS
_ANCHORS = PRESETS["mmfruit18"]
_NO_WEIGHTS = "Its ImageNet weights come through train.init_from; timm has none of this size. "
_BACKBONES: dict[str, tuple[Timm, str]] = {
    "r50": (Timm(), ""),
    "x101": (Timm(name="resnext101_64x4d.gluon_in1k"), ""),
    "x152": (
        Timm(name="resnext101_32x8d", depths=(3, 8, 36, 3), pretrained=False),
        "The width of its groups, 32 of 8, is ours. " + _NO_WEIGHTS,
    ),
    "senet154": (Timm(name="senet154.gluon_in1k"), ""),
    "nasnet": (
        Timm(name="nasnetalarge", width=44 / 168, pretrained=False),
        "The report modified NASNet, such as its depth multiplier, and gives no numbers: 1056 features are ours. "
        + _NO_WEIGHTS,
    ),
    "effb7": (Timm(name="tf_efficientnet_b7.aa_in1k"), "Which EfficientNet is ours."),
}
_ROWS: dict[str, tuple[int, dict[str, float]]] = {
    "r50_plain": (1, {"validation mAP": 64.64, "public LB": 49.79}),
    "r50_dh": (2, {"validation mAP": 68.18, "public LB": 52.55}),
    "x101_plain_dcn": (4, {"validation mAP": 68.7, "public LB": 55.046}),
    "x101_dh_dcn": (5, {"validation mAP": 71.71, "public LB": 58.596}),
    "senet154_plain_dcn": (6, {"validation mAP": 71.13, "public LB": 57.771}),
    "senet154_dh_dcn": (7, {"validation mAP": 72.19, "public LB": 60.5}),
}


# Table 1: sampling


@variant(report=_REPORT, table="1", row=1, reported={"validation mAP": 58.88})
def mm_x50_plain() -> Model:
    """Faster R-CNN with ResNeXt-50 and FPN."""
    anchors = PRESETS["default3"]
    return Model(
        backbone=Timm(name="resnext50_32x4d.tv_in1k"),
        rpn=RPN(scales=anchors.scales, ratios=anchors.ratios),
        train=Train(
            batch=2 * _ACCELERATORS,
            reference_batch=2 * _ACCELERATORS,
            learning_rate=_RATE,
            warmup_factor=0.001 / _RATE,
            segments=(),
            milestones=(9, 11),
            epochs=13,
            unit="epoch",
        ),
        infer=Infer(score=0.01),
    )


@variant(
    report=_REPORT,
    table="1",
    row=2,
    reported={"validation mAP": 64.64},
    note="In all the others as well. Table 2 has the same figure for ResNet50.",
    parent="mm_x50_plain",
    changes=("data.sampler",),
)
def mm_x50_classaware() -> Model:
    """Class-aware sampling."""
    return replace(mm_x50_plain(), data=TrainData(sampler="class_aware"))


# Table 2 and sec. 7.3: each backbone with the plain head and the decoupling head, without and with deformable layers


def _plain(name: str) -> Model:
    base = replace(mm_x50_classaware(), backbone=_BACKBONES[name][0])
    if name == "r50":
        return base
    return replace(
        base,
        rpn=replace(base.rpn, scales=_ANCHORS.scales, ratios=_ANCHORS.ratios),
        train=replace(base.train, keep_epochs=(9, 10, 11, 12, 13)),
        infer=replace(base.infer, short=_SCALES),
    )


def _deformable(base: Model) -> Model:
    return replace(base, backbone=replace(base.backbone, deform=DeformConv(modulated=False)))


def _decoupled(base: Model) -> Model:
    return replace(base, head=DecoupledHead())


def _register(name: str, backbone: str, make: Callable[[], Model], parent: str, changes: tuple[str, ...]) -> None:
    def full() -> Model:
        return make()

    full.__name__ = f"mm_{name}"
    row, reported = _ROWS.get(name, (0, {}))
    note = _BACKBONES[backbone][1]
    if backbone != "r50":
        note += "The weights are the mean of epochs 9 to 13: quorum zoo average joins those that are kept. "
    if "public LB" in reported and backbone != "r50":
        note += "The leaderboard's figure is of several scales at test, the validation's of one."
    variant(
        report=_REPORT,
        table="2" if row else "",
        row=row,
        reported=reported,
        note=note.strip(),
        parent=f"mm_{parent}",
        changes=changes,
    )(full)


def _register_backbone(name: str) -> None:
    other = ("rpn.scales", "rpn.ratios", "train.keep_epochs", "infer.short") if name != "r50" else ()
    own = {"x152": ("backbone.pretrained", "backbone.depths"), "nasnet": ("backbone.pretrained", "backbone.width")}
    parent = "x50_classaware" if name == "r50" else "r50_plain"
    _register(f"{name}_plain", name, lambda: _plain(name), parent, ("backbone.name", *own.get(name, ()), *other))
    _register(f"{name}_dh", name, lambda: _decoupled(_plain(name)), f"{name}_plain", ("head",))
    if name == "nasnet":  # all of its convolutions that are no 1x1 are separable
        return
    deform = ("backbone.deform",)
    _register(f"{name}_plain_dcn", name, lambda: _deformable(_plain(name)), f"{name}_plain", deform)
    _register(f"{name}_dh_dcn", name, lambda: _decoupled(_deformable(_plain(name))), f"{name}_plain_dcn", ("head",))


for _name in _BACKBONES:
    _register_backbone(_name)


@variant(
    report=_REPORT,
    table="2",
    row=3,
    reported={"validation mAP": 68.18, "public LB": 55.88},
    note="The leaderboard's figure is of several scales at test, the validation's of one.",
    parent="mm_r50_dh",
    changes=("infer.short",),
)
def mm_r50_dh_mt() -> Model:
    """Several scales at test."""
    base = _decoupled(_plain("r50"))
    return replace(base, infer=replace(base.infer, short=_SCALES))


# Sec. 5.2, 5.3 and 5.6


@variant(
    report=_REPORT,
    note="Models 25 to 28 (sec. 5.2); the report does not say with which backbone and head: those of Table 2's row 5 "
    "are ours, and so are the lower weight and the branch that proposals come from.",
    parent="mm_x101_dh_dcn",
    changes=("decoupled",),
)
def mm_decoupled() -> Model:
    """The decoupled backbone."""
    return replace(_decoupled(_deformable(_plain("x101"))), decoupled=DecoupledBackbone())


@variant(
    report=_REPORT,
    note="Models trained with 512 accelerators (sec. 5.3): two images each, of which the 500 categories take one each. "
    "Which backbone and head they have is not said: those of Table 2's row 5 are ours.",
    parent="mm_x101_dh_dcn",
    changes=(
        "data.sampler",
        "data.elaborate",
        "train.batch",
        "train.reference_batch",
        "train.learning_rate",
        "train.warmup_factor",
    ),
)
def mm_fullclass() -> Model:
    """A full-class batch and the elaborate augmentation."""
    base = _decoupled(_deformable(_plain("x101")))
    return replace(
        base,
        data=replace(base.data, sampler="full_class", elaborate=Elaborate()),
        train=replace(
            base.train,
            batch=2 * _MANY_ACCELERATORS,
            reference_batch=2 * _MANY_ACCELERATORS,
            learning_rate=0.004 * _MANY_ACCELERATORS,
            warmup_factor=0.001 / (0.004 * _MANY_ACCELERATORS),
        ),
    )


@variant(
    report=_REPORT,
    note="The fourth model of Table 3.",
    parent="mm_senet154_plain_dcn",
    changes=("head.class_agnostic", "cascade.iou", "cascade.std", "cascade.loss_weight", "cascade.score_weight"),
)
def mm_cascade3() -> Model:
    """The usual Cascade R-CNN."""
    base = _deformable(_plain("senet154"))
    return replace(base, head=replace(base.head, class_agnostic=True), cascade=md19_r50_cascade().cascade)


@variant(
    report=_REPORT,
    note="0.7 mAP more than the usual cascade (sec. 5.6). .75, 1, .25 and .25 are weights of the stages' scores, "
    '"for the final result"; cascade.loss_weight=[.75,1,.25,.25] is the other reading. Weights of losses and stds are '
    "ours.",
    parent="mm_cascade3",
    changes=("cascade.iou", "cascade.std", "cascade.loss_weight", "cascade.score_weight"),
)
def mm_cascade4() -> Model:
    """Four stages for AP at IoU 0.5."""
    return replace(
        mm_cascade3(),
        cascade=Cascade(
            iou=(0.5, 0.5, 0.6, 0.7),
            std=(
                (0.1, 0.1, 0.2, 0.2),
                (0.067, 0.067, 0.133, 0.133),
                (0.05, 0.05, 0.1, 0.1),
                (0.033, 0.033, 0.067, 0.067),
            ),
            loss_weight=(1.0, 1.0, 0.5, 0.25),
            score_weight=(0.75, 1.0, 0.25, 0.25),
        ),
    )


@variant(
    report=_REPORT,
    note="Each stage goes on from the regions that the one before has shifted and refined.",
    parent="mm_cascade4",
    changes=("head",),
)
def mm_cascade4_dh() -> Model:
    """Decoupling heads in the cascade."""
    return replace(mm_cascade4(), head=DecoupledHead(class_agnostic=True))


# Sec. 5.7


@variant(
    report=_REPORT,
    note="The report gives no figure, and of the detector says Faster R-CNN (sec. 5.7): ResNet50 is ours. It learns "
    "from images with boxes and, joined to them, images of which only labels are known (data of kind labels).",
    parent="mm_r50_plain",
    changes=("weak",),
)
def mm_wsddn() -> Model:
    """Weak supervision by image labels."""
    return replace(_plain("r50"), weak=WeakSupervision())


# Sec. 5.4: experts; how many categories one knows, its data say (quorum zoo experts)


def _expert(name: str, note: str, row: int = 0) -> None:
    def full() -> Model:
        base = _plain("senet154")
        return replace(base, infer=replace(base.infer, gate=True))

    full.__name__ = name
    variant(
        report=_REPORT,
        table="4" if row else "",
        row=row,
        note=f"{note} Which SENet and which head are ours.",
        parent="mm_senet154_plain",
        changes=("infer.gate",),
    )(full)


_expert(
    "mm_expert10",
    'For "the lowest ten categories of validation mAP" and about three images of confused ones alone to one with them '
    "(sec. 5.4): quorum zoo experts --worst 10. Its figure is not reported.",
)
for _count in (27, 40, 150):
    _expert(
        f"mm_expert{_count}",
        f'One of "the SEResNet154 trained with 150, 27, 40 classes with low AP on validation set" (sec. 7.3): quorum '
        f"zoo experts --worst {_count}. 67.2 on the public leaderboard is reported of all together: "
        '"Mix ensemble+voting ID1-28+3experts (V1)".',
        row=4,
    )

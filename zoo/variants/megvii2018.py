"""Megvii's system of 2018 (megvii-coco2018-slides): the location-sensitive header, backbones, two passes.

The slides have no numbered tables; `table` is the slide's title. Their figures are lost, so how the parts look is
ours where the text is silent; the other readings are values of the same fields.
"""

from zoo.config import ConvHead, EdgeLoss, MaskHead, Model, ShuffleNet, SoftNMS, replace
from zoo.registry import variant
from zoo.variants.metrics import box, mask

__all__ = [
    "md18_det_mstest",
    "md18_det_softnms",
    "md18_r50_2x",
    "md18_r50_base",
    "md18_r50_gap",
    "md18_r50_lsh",
    "md18_r50_lsh_det",
    "md18_r50_lsh_edge",
    "md18_r50_lsh_heavy",
    "md18_r50_lsh_msroi",
    "md18_shuffle_gap",
    "md18_shuffle_gap_lsh",
    "md18_shuffle_gap_lsh_ms",
    "md18_two_pass",
    "md18_two_pass_mstest",
]

_REPORT = "megvii-coco2018-slides"
_HEADER = "Location Sensitive Header"
_RESULTS = "Results"
_LSH = ("head", "pool.levels", "mask.pool.levels", "mask.convs", "mask.edge")
_WEIGHTS = (
    "The slides do not say which ShuffleNetV2; this is the large one that Megvii published. "
    "Its ImageNet weights come through train.init_from."
)


def _mask(model: Model) -> MaskHead:
    assert model.mask is not None
    return model.mask


@variant(report=_REPORT, table=_HEADER, row=1, reported=mask(34.4) | box(37.0))
def md18_r50_base() -> Model:
    """Mask R-CNN with ResNet-50 and FPN, Detectron's 1x schedule."""
    return Model(mask=MaskHead())


@variant(
    report=_REPORT,
    table=_HEADER,
    row=2,
    reported=mask(35.4) | box(38.7),
    note="A later slide gives 35.6 mask AP for the same row.",
    parent="md18_r50_base",
    changes=("head",),
)
def md18_r50_lsh_det() -> Model:
    """The location-sensitive detector: convolutions for boxes."""
    return replace(md18_r50_base(), head=ConvHead())


@variant(
    report=_REPORT,
    table=_HEADER,
    row=3,
    reported=mask(35.8) | box(38.9),
    note='Joined by the maximum over levels; "sum" is the other reading.',
    parent="md18_r50_lsh_det",
    changes=("pool.levels", "mask.pool.levels"),
)
def md18_r50_lsh_msroi() -> Model:
    """Regions pooled from all levels."""
    base = md18_r50_lsh_det()
    own = _mask(base)
    return replace(base, pool=replace(base.pool, levels="max"), mask=replace(own, pool=replace(own.pool, levels="max")))


@variant(
    report=_REPORT,
    table=_HEADER,
    row=4,
    reported=mask(35.3) | box(36.8),
    note="The number of convolutions is ours.",
    parent="md18_r50_base",
    changes=("mask.convs",),
)
def md18_r50_lsh_heavy() -> Model:
    """A heavier mask head: eight convolutions."""
    base = md18_r50_base()
    return replace(base, mask=replace(_mask(base), convs=8))


@variant(
    report=_REPORT,
    table=_HEADER,
    row=5,
    reported=mask(35.0) | box(37.0),
    parent="md18_r50_base",
    changes=("mask.edge",),
)
def md18_r50_lsh_edge() -> Model:
    """The mask edge loss."""
    base = md18_r50_base()
    return replace(base, mask=replace(_mask(base), edge=EdgeLoss()))


def _lsh(base: Model) -> Model:
    own = _mask(base)
    return replace(
        base,
        head=ConvHead(),
        pool=replace(base.pool, levels="max"),
        mask=replace(own, pool=replace(own.pool, levels="max"), convs=8, edge=EdgeLoss()),
    )


@variant(
    report=_REPORT,
    table=_HEADER,
    row=6,
    reported=mask(37.0) | box(39.3),
    note="Printed improvement +2.6 / +2.0; the difference of the boxes is 2.3.",
    parent="md18_r50_base",
    changes=_LSH,
)
def md18_r50_lsh() -> Model:
    """All four parts of the location-sensitive header."""
    return _lsh(md18_r50_base())


@variant(
    report=_REPORT,
    table="Backbone Improvement",
    row=2,
    reported=mask(35.1) | box(37.7),
    note='A convolution of the average of C5, added to its lateral; neck.context="gc" and backbone.squeeze are the '
    "other readings.",
    parent="md18_r50_base",
    changes=("neck.context",),
)
def md18_r50_gap() -> Model:
    """Global information in the backbone."""
    base = md18_r50_base()
    return replace(base, neck=replace(base.neck, context="c5_add"))


@variant(
    report=_REPORT,
    table=_RESULTS,
    row=1,
    reported=mask(36.1) | box(39.3),
    parent="md18_r50_base",
    changes=("train.segments",),
)
def md18_r50_2x() -> Model:
    """The baseline with Detectron's 2x schedule."""
    base = md18_r50_base()
    return replace(base, train=replace(base.train, segments=(120000, 40000, 20000)))


@variant(
    report=_REPORT,
    table=_RESULTS,
    row=2,
    reported=mask(40.3) | box(45.0),
    note="Printed improvement +3.8 mask AP over the 2x baseline; the difference is 4.2. " + _WEIGHTS,
    parent="md18_r50_base",
    changes=("backbone",),
)
def md18_shuffle_gap() -> Model:
    """ShuffleNetV2 with global information, which its blocks have."""
    return replace(md18_r50_base(), backbone=ShuffleNet())


@variant(
    report=_REPORT,
    table=_RESULTS,
    row=3,
    reported=mask(42.3) | box(46.5),
    parent="md18_shuffle_gap",
    changes=_LSH,
)
def md18_shuffle_gap_lsh() -> Model:
    """The location-sensitive header on ShuffleNetV2."""
    return _lsh(md18_shuffle_gap())


@variant(
    report=_REPORT,
    table=_RESULTS,
    row=4,
    reported=mask(44.5) | box(49.3),
    note="The sizes are ours (those of 2019); the slides only say multi-scale training.",
    parent="md18_shuffle_gap_lsh",
    changes=("backbone.norm", "data.short", "data.short_range", "data.long", "infer.short", "infer.long"),
)
def md18_shuffle_gap_lsh_ms() -> Model:
    """Multi-scale training, batch norm trained over all processes."""
    base = md18_shuffle_gap_lsh()
    return replace(
        base,
        backbone=replace(base.backbone, norm="syncbn"),
        data=replace(base.data, short=(400, 1400), short_range=True, long=1400),
        infer=replace(base.infer, short=(800,), long=1333),
    )


@variant(
    report=_REPORT,
    table=_RESULTS + ", boxes",
    row=2,
    reported=box(49.8),
    parent="md18_shuffle_gap_lsh_ms",
    changes=("infer.soft_nms",),
)
def md18_det_softnms() -> Model:
    """Soft-NMS."""
    base = md18_shuffle_gap_lsh_ms()
    return replace(base, infer=replace(base.infer, soft_nms=SoftNMS()))


@variant(
    report=_REPORT,
    table=_RESULTS + ", boxes",
    row=3,
    reported=box(51.6),
    note="The sizes are ours.",
    parent="md18_det_softnms",
    changes=("infer.short", "infer.long", "infer.flip"),
)
def md18_det_mstest() -> Model:
    """Several sizes and flips at test."""
    return _mstest(md18_det_softnms())


@variant(
    report=_REPORT,
    table=_RESULTS,
    row=5,
    reported=mask(47.6) | box(55.4),
    note="The slides feed it the boxes of their ensemble of detectors; 55.4 - 49.3 is printed as 6.1.",
    parent="md18_shuffle_gap_lsh_ms",
    boxes_from="md18_det_mstest",
)
def md18_two_pass() -> Model:
    """The boxes of a better detector through the mask head."""
    return md18_shuffle_gap_lsh_ms()


@variant(
    report=_REPORT,
    table=_RESULTS,
    row=6,
    reported=mask(48.1) | box(55.4),
    note="On test-dev 48.8 mask and 56.0 box AP.",
    parent="md18_two_pass",
    changes=("infer.short", "infer.long", "infer.flip"),
    boxes_from="md18_det_mstest",
)
def md18_two_pass_mstest() -> Model:
    """Several sizes and flips at test of the masks."""
    return _mstest(md18_two_pass())


def _mstest(base: Model) -> Model:
    return replace(base, infer=replace(base.infer, short=(600, 800, 1000, 1200, 1400), long=1867, flip=True))

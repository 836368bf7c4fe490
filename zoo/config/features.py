"""Settings of what lies between an image and the features of a region."""

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "FPN",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "RPN",
    "Backbone",
    "DecoupledBackbone",
    "DeformConv",
    "HighIoU",
    "Norm",
    "RoIPool",
    "ShuffleNet",
    "Task",
    "Timm",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MaskStart = Literal["half", "one"]
Norm = Literal["frozen", "bn", "syncbn", "gn"]


@dataclass(frozen=True, kw_only=True)
class DeformConv:
    """Deformable 3x3 convolutions in the named stages of a backbone (stage 2 ends at stride 4, stage 5 at stride 32).

    Attributes:
        stages: Stages whose 3x3 convolutions are replaced.
        modulated: Also predict a factor per sampling point (version 2); False is version 1.
        mask_start: That factor before training: "half" as in the paper of version 2, "one" as in MXNet's layer, which
            leaves pre-trained convolutions what they were.
    """

    stages: tuple[int, ...] = (3, 4, 5)
    modulated: bool = True
    mask_start: MaskStart = "half"


@dataclass(frozen=True, kw_only=True)
class Timm:
    """A backbone of timm with four maps of strides 4, 8, 16 and 32.

    Attributes:
        name: timm's name of the network, with a dot and the name of its ImageNet weights: without, timm chooses which
            training they are of ("tv_in1k" are torchvision's first, as the reports used them; ours).
        pretrained: Load these weights.
        norm: What its batch norms become. "frozen" keeps statistics and weights as loaded.
        frozen_stages: 0 trains everything, 1 freezes the stem, 2 the stem and stage 2, and so on.
        deform: Deformable convolutions, or None.
        squeeze: Squeeze-and-excitation in the blocks of a ResNet: one reading of "global information".
        width: Factor on the channels of a ResNet or a NASNet, for which there are no weights then.
        depths: Blocks of each stage of a ResNet in place of its own, for which there are no weights then; or None.
        branches: Of an HRNet the branches as they are, with C, 2C, 4C and 8C channels; otherwise as timm widens them.
        mean: What is taken from red, green and blue (0 to 1); None is what timm's weights of this name were trained
            with, and ImageNet's own where it has none.
        std: What they are divided by then; None as in `mean`.
    """

    name: str = "resnet50.tv_in1k"
    pretrained: bool = True
    norm: Norm = "frozen"
    frozen_stages: int = 2
    deform: DeformConv | None = None
    squeeze: bool = False
    width: float = 1.0
    depths: tuple[int, int, int, int] | None = None
    branches: bool = False
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


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
class DecoupledBackbone:
    """Two branches from stride 8 on, each with C4, C5, a pyramid and heads of its own (mmfruit-openimages2019, 5.2).

    Both learn classes and boxes, each one task at a lower weight; at test scores come from one, boxes from the other.

    Attributes:
        weight: Factor on the losses of boxes in the branch for classes, and on those of classes in the branch for boxes
            (the report gives no number; 0.25 is ours).
        proposals: Branch that proposals come from (ours).
    """

    weight: float = 0.25
    proposals: Literal["boxes", "classes"] = "boxes"


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
        mask_start: Of its deformable convolutions, as in `DeformConv`.
        passes: Times that a trunk looks at the image, each but the first fed with the pyramid of the one before: a
            recursive pyramid, with 3 that of alibaba-lvis2020, sec. 4.1.
        share: All passes run the same trunk; as published, each has its own, that many times the parameters.
        aspp: Channels of each of the four branches of what is fed back.
        nas: Pyramids of NAS-FPN's seven merging cells in a row, in the place of the top-down path and the outputs
            (published: 7); 0 for none. Its P3-P7 are P2-P6 here (ours).
    """

    channels: int = 256
    norm: Literal["none", "gn"] = "none"
    out: Literal["conv", "deform"] = "conv"
    lateral: Literal["conv1x1", "deform3x3"] = "conv1x1"
    context: Literal["none", "c5_add", "gc"] = "none"
    mask_start: MaskStart = "half"
    passes: int = 1
    share: bool = False
    aspp: int = 64
    nas: int = 0


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
        channels: Channels of its 3x3 convolutions.
        convs: How many of them.
        scales: Anchor sides in strides of their level.
        whole_anchors: Round the corners of anchors to whole pixels about their centre, as torchvision does.
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
    convs: int = 1
    scales: tuple[float, ...] = (8.0,)
    whole_anchors: bool = False
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
    """How the features of a region are taken from the pyramid: RoIAlign and what may be added to it.

    Attributes:
        size: Bins along each side.
        sampling: Sampling points along each side of a bin.
        aligned: Shift regions by half a pixel, since pixels are counted at their centres; torchvision's models do not.
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
    aligned: bool = True
    deform: Literal["none", "offset", "modulated"] = "none"
    gamma: float = 0.1
    hidden: int = 1024
    levels: Literal["assigned", "max", "sum"] = "assigned"
    context: float | None = None

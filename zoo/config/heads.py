"""Settings of the heads: boxes and masks, their sampling and their stages."""

from dataclasses import dataclass
from typing import Literal

from zoo.config.features import RoIPool

__all__ = [
    "BalancedMask",
    "Boundary",
    "BoxHead",
    "Cascade",
    "ClassAware",
    "ConvHead",
    "DecoupledHead",
    "DoubleHead",
    "EdgeLoss",
    "FCHead",
    "MaskHead",
    "MaskIoU",
    "Sampling",
    "StuffHead",
    "WeakSupervision",
]


@dataclass(frozen=True, kw_only=True)
class FCHead:
    """Shared fully connected layers for classes and boxes.

    Attributes:
        channels: Width of the layers.
        class_agnostic: One box per region instead of one per class.
        layers: How many.
        convs: 3x3 convolutions before them (torchvision's second version: 4).
        width: Their channels.
    """

    channels: int = 1024
    class_agnostic: bool = False
    layers: int = 2
    convs: int = 0
    width: int = 256


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


@dataclass(frozen=True, kw_only=True)
class DoubleHead:
    """Fully connected layers for classes, residual blocks over a larger region for boxes (alibaba-lvis2020, sec. 4.1).

    Group norm stands in the place of the published batch norm, as in `ConvHead` (ours).

    Attributes:
        channels: Width of the fully connected layers, and of the residual blocks.
        class_agnostic: One box per region instead of one per class.
        convs: Bottlenecks after the residual block that widens the features (public: 4).
        width: Channels inside of them.
        enlarged: Factor on the regions that boxes are found in, about their centre (public: 1.3).
        weight: Factor on both losses (public: 2; inside a cascade 1 is ours).
    """

    channels: int = 1024
    class_agnostic: bool = False
    convs: int = 4
    width: int = 256
    enlarged: float = 1.3
    weight: float = 2.0


@dataclass(frozen=True, kw_only=True)
class DecoupledHead:
    """The decoupling head, also called TSD: classes and boxes look where each of them sees best.

    mmfruit-openimages2019, sec. 2. What a region holds is read from bins that are each shifted on their own (Eq. 1, 3),
    where it lies from the region as a whole shifted (Eq. 2, 4), from where its box is then learned and decoded. Eq. 3-4
    leave out that shifts are in widths and heights of the region times `gamma`, as in the published code. A plain head
    beside it is there in training only: the margin loss (Eq. 5-6) asks to be better than that one by a margin.

    Attributes:
        channels: Width of the two fully connected layers for classes, of the two for boxes, and of the plain head's.
        class_agnostic: One box per region instead of one per class.
        hidden: Width of the layers that predict the shifts; their last ones start at zero (ours).
        gamma: Shift 1 is this share of the region's width and height.
        margins: In score and in IoU over the plain head (the published code's configs: 0.3).
        clip: Ask for no score and no IoU above 1: margins are at most what the plain head lacks of it (public).
    """

    channels: int = 1024
    class_agnostic: bool = False
    hidden: int = 256
    gamma: float = 0.1
    margins: tuple[float, float] = (0.2, 0.2)
    clip: bool = True


BoxHead = FCHead | ConvHead | DoubleHead | DecoupledHead


@dataclass(frozen=True, kw_only=True)
class ClassAware:
    """Positives drawn per class, by an IoU threshold of the class (megdetv2, sec. 2.2.1).

    Attributes:
        floor: The lowest IoU of a positive where the stage asks for 0.5; it moves with the stage's IoU (ours).
        mode: "threshold" takes the share alpha of each class's candidates, "quota" as many for each class.
        rest: Proposals that reach the stage's IoU but not their class's threshold: "background" by the report's words,
            which change the IoU thresholds themselves, and below a threshold is background; "ignored" is the other
            reading, by which only as many are sampled.
    """

    floor: float = 0.3
    mode: Literal["threshold", "quota"] = "threshold"
    rest: Literal["background", "ignored"] = "background"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which proposals a stage is trained on.

    Attributes:
        rois: Regions per image.
        positives: The largest share of positives among them.
        class_aware: megdetv2's class-aware sampling, or None.
        ignore_by: Which proposals an ignore box keeps from being background: "iof" those with more than
            `rpn.ignore_iof` of their area in it, for regions of several objects; "iou" those whose IoU with it is more
            than that, for pseudo labels of single ones (lvistraveler, sec. 2.1; its threshold is not given).
    """

    rois: int = 512
    positives: float = 0.25
    class_aware: ClassAware | None = None
    ignore_by: Literal["iof", "iou"] = "iof"


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
class BalancedMask:
    """The balanced mask loss (lvistraveler-lvis2020, Eq. 2-5): Dice, and cross entropy with weight on thin masks.

    Eq. 4 lacks its minus sign; it is put there.

    Attributes:
        cross: Factor on the cross entropy, Eq. 2.
        smooth: The smooth term of Eq. 3.
        pixels: The cross entropy of a region: "mean" over its pixels (ours, so that both terms are of one size), or
            "sum" as Eq. 4 prints it.
    """

    cross: float = 1.0
    smooth: float = 1.0
    pixels: Literal["mean", "sum"] = "mean"


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """A branch that predicts boundaries from P2 and shares features with the masks' (boundary-preserving Mask R-CNN).

    lvistraveler-lvis2020, sec. 2.2; layers and weights are the published ones.

    Attributes:
        convs: 3x3 convolutions of the branch.
        weight: Factor on the cross entropy of boundaries.
        dice: Factor on their Dice loss.
    """

    convs: int = 2
    weight: float = 1.0
    dice: float = 1.0


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
        level: Level that regions are pooled from: "box" by their size; "area_paper" by size and by the share of them
            that the mask covers, as Eq. 1 of lvistraveler-lvis2020 is printed; "area_log2" with the pyramid's usual
            rule as its first term, without which all but small boxes would go to P5 (ours). At test the share is first
            taken from a mask by size alone (ours).
        balanced: The balanced mask loss in place of cross entropy, or None.
        boundary: Boundary supervision, or None.
        edge: Mask edge loss, or None.
        iou: Mask rescoring, or None.
        residual: A second head that learns what the first leaves, on the same regions (megdetv2's efficient cascade).
        stages: "first" is one head, trained on the regions of the first box stage; "each" has a head after every box
            stage, trained on boxes that this one has refined, assigned and drawn anew, and takes the mean of their
            masks; the last one alone learns `iou`.
        flow: Each head but the first is also given what the one before makes of the same features, through a 1x1
            convolution: the mask information flow of hybrid task cascades.
    """

    pool: RoIPool = RoIPool(size=14)
    convs: int = 4
    width: int = 256
    weight: float = 1.0
    level: Literal["box", "area_paper", "area_log2"] = "box"
    balanced: BalancedMask | None = None
    boundary: Boundary | None = None
    edge: EdgeLoss | None = None
    iou: MaskIoU | None = None
    residual: bool = False
    stages: Literal["first", "each"] = "first"
    flow: bool = False


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


@dataclass(frozen=True, kw_only=True)
class WeakSupervision:
    """A weakly supervised detector (WSDDN) beside the detector, in training only (mmfruit-openimages2019, sec. 5.7).

    It learns from all images which categories they have, and by it images of which only labels are known teach the
    detector, too: the regions that it finds best become objects, of which boxes are not learned. The report gives no
    numbers; all are ours.

    Attributes:
        weight: Factor on its loss, which is a sum over categories: with more the detector's own losses hardly count.
        rois: Proposals of each image that it looks at, the best ones.
        warmup: Epochs before the first objects are mined.
        nms_iou: Of each category the best region is mined, and further ones that overlap no better one by more,
        share: whose scores are at least this share of the best one's.
        background: What the other proposals of an image with labels only are to the detector: "none" takes them for
            nothing, since objects that were not mined may be anywhere; "rest" takes them for background.
        verified: Categories that nobody has verified in an image teach nothing there; otherwise they are absent.
    """

    weight: float = 0.02
    rois: int = 512
    warmup: float = 1.0
    nms_iou: float = 0.3
    share: float = 0.5
    background: Literal["none", "rest"] = "none"
    verified: bool = True

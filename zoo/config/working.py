"""Settings of training and prediction."""

from dataclasses import dataclass
from typing import Literal

from zoo.config.augment import Elaborate, InstaBoost, Rotation, Strong

__all__ = [
    "Crop",
    "Infer",
    "ParameterGroup",
    "Sampler",
    "SoftNMS",
    "Stream",
    "Subset",
    "Train",
    "TrainData",
]

Sampler = Literal["shuffle", "repeat", "class_aware", "full_class"]


@dataclass(frozen=True, kw_only=True)
class Subset:
    """So many images of a joined data set in each epoch, drawn anew, such as of pseudo labels (lvistraveler, sec. 2.1).

    Neither samplers nor classifiers that count categories count them; `weight=` of the data set is the factor on their
    loss.

    Attributes:
        source: Name of the joined data set.
        images: How many, or all if there are no more.
    """

    source: str
    images: int


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Images of which every step has the same number: one of several streams that a step is made of.

    Attributes:
        images: In each step, over all processes and accumulated passes.
        source: Name of the joined data set that they are from; None for all of them.
        sampler: Order of an epoch, as in `TrainData`.
        repeat_threshold: As in `TrainData`.
        per_category: As in `TrainData`.
        subsets: As in `TrainData`.
    """

    images: int
    source: str | None = None
    sampler: Sampler = "shuffle"
    repeat_threshold: float = 1e-3
    per_category: int | None = None
    subsets: tuple[Subset, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Each object with a mask is a sample, cut out by its box (mmfruit-openimages2019, sec. 8.2 and 8.3).

    Attributes:
        pad: Margin around the box, as a share of its width and height (0 is ours).
        square: Bring every crop to `short` x `short`; otherwise its short side is `short`, but its long side no more
            than `long`. The report's 112,112 may be read as either; square is ours.
        objects: So many, drawn once, are learned from; None for all.
    """

    pad: float = 0.0
    square: bool = False
    objects: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainData:
    """What training images become, and in which order they come.

    Attributes:
        short: Lengths of the short side to draw from; with `short_range` the two ends of a range.
        short_range: Draw any length between the two of `short`.
        long: Longest side.
        flip: Probability of a horizontal flip.
        photometric: Distort brightness, contrast, saturation and hue.
        instaboost: Objects that are moved a little, or None.
        strong: Colour jitter, blur and cutout, or None.
        elaborate: A turn and a crop for the sake of the category that an image was drawn for, or None; of objects that
            are cut out, the turn alone.
        rotation: Rotation about the middle, or None.
        jitter: Range of a further factor on the size, followed by a crop to the size without it; None for none.
        sampler: Order of an epoch: every image once, by repeat factors of rare categories, category by category, or so
            that every step has each category ("full_class"; as few steps as have room for all, where one has not).
        repeat_threshold: Share of images below which a category is repeated, for "repeat".
        per_category: For "class_aware", images of each category in an epoch (alibaba, sec. 3: 5); None for as many
            images as there are.
        subsets: Joined data sets of which only a part comes in each epoch.
        mosaic: Chance that a sample is made of two by two pictures.
        mosaic_kind: "shuffle" draws its partners evenly (YOLOv4), "repeat" by repeat factors (lvistraveler-lvis2020,
            Table 1, "align with RFS"), both scale them to the room of the first; "balanced" is Algorithm 1 of
            alibaba-lvis2020: by repeat factors, one scale for all, then a part as large as the first.
        crop: Samples are objects that are cut out, and not images; None for images.
        streams: What each step is made of, in place of one `sampler`; epochs are then those of the first stream.
    """

    short: tuple[int, ...] = (800,)
    short_range: bool = False
    long: int = 1333
    flip: float = 0.5
    photometric: bool = False
    instaboost: InstaBoost | None = None
    strong: Strong | None = None
    elaborate: Elaborate | None = None
    rotation: Rotation | None = None
    jitter: tuple[float, float] | None = None
    sampler: Sampler = "shuffle"
    repeat_threshold: float = 1e-3
    per_category: int | None = None
    subsets: tuple[Subset, ...] = ()
    mosaic: float = 0.0
    mosaic_kind: Literal["shuffle", "repeat", "balanced"] = "repeat"
    crop: Crop | None = None
    streams: tuple[Stream, ...] = ()

    def step(self, batch: int) -> tuple[Stream, ...]:
        """Return the streams that a step of so many images is made of."""
        one = Stream(
            images=batch,
            sampler=self.sampler,
            repeat_threshold=self.repeat_threshold,
            per_category=self.per_category,
            subsets=self.subsets,
        )
        return self.streams or (one,)


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters that are trained otherwise than the rest; those that are not trained are named by `Train.freeze`.

    Attributes:
        match: Regular expression that matches at the start of their names, such as "backbone" or "rpn.conv".
        rate: Factor on the learning rate.
        weight_decay: Their own; None is that of all.
    """

    match: str
    rate: float = 1.0
    weight_decay: float | None = None


@dataclass(frozen=True, kw_only=True)
class Train:
    """Optimiser and schedule. `segments` says when training ends; without them `steps` or `epochs` does.

    Attributes:
        steps: Length in steps.
        epochs: Length in passes over the data.
        batch: Images per step, over all processes and accumulated passes.
        reference_batch: Images per step that `learning_rate` is for; it scales linearly with `batch`.
        learning_rate: The rate after warm-up.
        optimizer: "sgd" or "adamw", whose usual rates are some hundred times lower.
        momentum: Of SGD.
        nesterov: Look ahead, with SGD.
        betas: Of AdamW: weights of the past in the means of the gradient and of its square.
        groups: Parameters with a rate or a weight decay of their own; of several that match the first.
        offset_rate: Factor on the rate of what predicts where deformable convolutions look (deformable networks v2).
        pool_offset_rate: Factor on the rate of what predicts where deformable RoI pooling looks (v1).
        weight_decay: Of weights; with AdamW apart from the gradient.
        norm_decay: Of the weights of norms and of biases; None is the same as `weight_decay`.
        segments: Steps (or epochs) at each rate: (60000, 20000, 10000) ends at 90000.
        milestones: Where the rate falls; excludes `segments` and `poly`.
        poly: Power of a polynomial decay instead.
        cosine: Instead, half a cosine from the end of the warm-up to this share of the rate at the end.
        unit: Of segments and milestones.
        gamma: Factor on the rate at each fall.
        warmup_steps: Steps of linear warm-up.
        warmup_factor: Share of the rate at its start.
        accumulate: Forward passes per step.
        clip: Largest norm of the gradient, or None.
        ema: Decay of the averaged copy, or None; after n steps at most (1 + n) / (10 + n), to forget the start.
        precision: Of the forward pass where it may be lowered.
        seed: Of every random draw.
        checkpoint_steps: Steps between checkpoints.
        keep_epochs: Epochs whose weights are kept, to be averaged.
        init_from: Checkpoint whose fitting tensors are loaded first (pre-training on another data set), or None.
        init_anew: Regular expressions that match at the start of names; what they match is not taken from it.
        freeze: Patterns of names of parameters that are not trained.
    """

    steps: int | None = None
    epochs: float | None = None
    batch: int = 16
    reference_batch: int = 16
    learning_rate: float = 0.02
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    groups: tuple[ParameterGroup, ...] = ()
    offset_rate: float = 0.1
    pool_offset_rate: float = 0.01
    weight_decay: float = 1e-4
    norm_decay: float | None = None
    segments: tuple[int, ...] = (60000, 20000, 10000)
    milestones: tuple[float, ...] = ()
    poly: float | None = None
    cosine: float | None = None
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
    init_anew: tuple[str, ...] = ()
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
        gate: Drop a region before its box is found where background has a higher score than every category, as experts
            do (mmfruit-openimages2019, sec. 5.4); in a cascade by the scores of all stages (ours).
        mask: Probability from which a pixel belongs to a mask.
        short: Lengths of the short side, a view each; None for that of training, of several the one in the middle.
        long: Longest side; None for that of training, more in proportion where a short side is above all of training.
        flip: Also look at each view flipped.
    """

    score: float = 0.05
    nms_iou: float = 0.5
    soft_nms: SoftNMS | None = None
    detections: int = 100
    gate: bool = False
    mask: float = 0.5
    short: tuple[int, ...] | None = None
    long: int | None = None
    flip: bool = False

    def sizes(self, data: TrainData) -> tuple[tuple[int, int], ...]:
        """Return the short and the longest side of each view.

        Args:
            data: Settings of training, which hold where nothing is set.
        """
        middle = round(sum(data.short) / 2) if data.short_range else sorted(data.short)[len(data.short) // 2]
        return tuple((short, self.longest(short, data)) for short in self.short or (middle,))

    def longest(self, short: int, data: TrainData) -> int:
        """Return the longest side of a view with this short side."""
        if self.long is not None:
            return round(self.long * max(1.0, short / max(self.short or data.short)))
        return round(data.long * max(1.0, short / max(data.short)))

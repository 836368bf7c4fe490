"""Configs of detectors and segmenters: frozen dataclasses, each default in one place, no strings that name classes.

A variant is a `Model`; one that differs in a detail is `replace(model, ...)` of it, and `diff` says what differs.
Comments name the sources: a report (zoo/variants), "public" for what papers and public code agree on, "ours" where
neither says anything.
"""

from dataclasses import replace

from zoo.config.augment import InstaBoost, Rotation, Strong
from zoo.config.classifiers import (
    Classifier,
    CosineSoftmax,
    DoubleClassifier,
    EqualizedSigmoid,
    GroupSoftmax,
    Seesaw,
    SingleClassifier,
    Softmax,
    TauSoftmax,
)
from zoo.config.features import (
    FPN,
    IMAGENET_MEAN,
    IMAGENET_STD,
    RPN,
    Backbone,
    DecoupledBackbone,
    DeformConv,
    HighIoU,
    Norm,
    RoIPool,
    ShuffleNet,
    Timm,
)
from zoo.config.heads import (
    BalancedMask,
    Boundary,
    BoxHead,
    Cascade,
    ClassAware,
    ConvHead,
    DecoupledHead,
    DoubleHead,
    EdgeLoss,
    FCHead,
    MaskHead,
    MaskIoU,
    Sampling,
    StuffHead,
)
from zoo.config.models import (
    AnyModel,
    Model,
    Refiner,
    read_model,
)
from zoo.config.working import (
    Infer,
    ParameterGroup,
    SoftNMS,
    Stream,
    Subset,
    Train,
    TrainData,
)
from zoo.fields import diff, from_dict, to_dict, with_field

__all__ = [
    "FPN",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "RPN",
    "AnyModel",
    "Backbone",
    "BalancedMask",
    "Boundary",
    "BoxHead",
    "Cascade",
    "ClassAware",
    "Classifier",
    "ConvHead",
    "CosineSoftmax",
    "DecoupledBackbone",
    "DecoupledHead",
    "DeformConv",
    "DoubleClassifier",
    "DoubleHead",
    "EdgeLoss",
    "EqualizedSigmoid",
    "FCHead",
    "GroupSoftmax",
    "HighIoU",
    "Infer",
    "InstaBoost",
    "MaskHead",
    "MaskIoU",
    "Model",
    "Norm",
    "ParameterGroup",
    "Refiner",
    "RoIPool",
    "Rotation",
    "Sampling",
    "Seesaw",
    "ShuffleNet",
    "SingleClassifier",
    "SoftNMS",
    "Softmax",
    "Stream",
    "Strong",
    "StuffHead",
    "Subset",
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

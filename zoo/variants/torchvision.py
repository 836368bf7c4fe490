"""Faster and Mask R-CNN as torchvision has them: with its weights they find what it finds."""

from zoo.config import RPN, FCHead, MaskHead, Model, RoIPool, replace
from zoo.registry import variant

__all__ = ["torchvision_frcnn", "torchvision_frcnn_v2", "torchvision_mrcnn", "torchvision_mrcnn_v2"]

_NOTE = "Takes the weights of {}: `quorum zoo convert FILE --from torchvision -o weights.safetensors`."


@variant(note=_NOTE.format("fasterrcnn_resnet50_fpn"))
def torchvision_frcnn() -> Model:
    """Anchors of whole pixels, and regions that are not shifted by half a pixel."""
    return Model(rpn=RPN(whole_anchors=True), pool=RoIPool(aligned=False))


@variant(parent="torchvision_frcnn", changes=("mask",), note=_NOTE.format("maskrcnn_resnet50_fpn"))
def torchvision_mrcnn() -> Model:
    """With the mask head."""
    return replace(torchvision_frcnn(), mask=MaskHead(pool=RoIPool(size=14, aligned=False)))


@variant(
    parent="torchvision_frcnn",
    changes=("rpn.convs", "head.layers", "head.convs"),
    note=_NOTE.format("fasterrcnn_resnet50_fpn_v2"),
)
def torchvision_frcnn_v2() -> Model:
    """Two convolutions before proposals, four before one fully connected layer; their norms are joined with them."""
    base = torchvision_frcnn()
    return replace(base, rpn=replace(base.rpn, convs=2), head=FCHead(layers=1, convs=4))


@variant(parent="torchvision_frcnn_v2", changes=("mask",), note=_NOTE.format("maskrcnn_resnet50_fpn_v2"))
def torchvision_mrcnn_v2() -> Model:
    """With the mask head."""
    return replace(torchvision_frcnn_v2(), mask=torchvision_mrcnn().mask)

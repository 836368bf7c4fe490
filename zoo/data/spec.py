"""Data sets by name: what `--data` takes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from evaluation.cli.truth import listed, read_truth
from evaluation.coco_ground_truth import read_coco
from evaluation.ground_truth import GroundTruth
from evaluation.open_images_csv import read_open_images
from fusion.errors import InputError, option
from fusion.storage import read_table
from zoo.data.dataset import AnnotatedImages, Data
from zoo.data.extension import named_categories, with_mask_boxes, with_whole_images, without_groups
from zoo.data.joined import JoinedData
from zoo.data.pictures import EXIF, FolderPictures, Pictures, RenderedPictures
from zoo.data.selected import SelectedData, images_having
from zoo.synthetic.rendered import PictureVocabulary, Rendered, Scenery

__all__ = ["open_data"]

_Number = TypeVar("_Number", int, float)
_FORMS = {
    "coco": "coco:instances_train.json,images/",
    "lvis": "lvis:lvis_v1_train.json,images/",
    "openimages": "openimages:boxes.csv,images/,classes=classes.csv",
    "labels": "labels:labels.csv,images/,classes=classes.csv",
    "voc": "voc:Annotations/,JPEGImages/",
    "scenes": "scenes:600,128,0 (images, size, seed)",
}
_COMMON = ("name", "split", "weight", "having", "only", "against", "found", "stuff", "exif", "missing")
_ALLOWED = {
    "coco": ("annotations", "images", "list", *_COMMON),
    "lvis": ("annotations", "images", "list", *_COMMON),
    "openimages": (
        "boxes",
        "images",
        "classes",
        "labels",
        "masks",
        "mask_folder",
        "extend",
        "drop_groups",
        "hierarchy",
        "list",
        *_COMMON,
    ),
    "labels": ("labels", "images", "classes", "boxes", "hierarchy", "list", "exif", *_COMMON[:7]),
    "voc": ("annotations", "images", "list", *_COMMON),
    "scenes": (
        "images",
        "size",
        "seed",
        "categories",
        "tail",
        "rare",
        "common",
        "drawn_tail",
        "objects",
        "clutter",
        "groups",
        "noise",
        *_COMMON[:7],
    ),
}


def open_data(*specs: str) -> Data:
    """Open data sets.

    A data set is named by its kind, a colon and a list: `coco:FILE,FOLDER`, `lvis:FILE,FOLDER`,
    `openimages:BOXES,FOLDER[,classes=FILE][,labels=FILE][,masks=FILE][,mask_folder=FOLDER][,hierarchy=FILE][,extend=A+B]
    [,drop_groups=A+B]` (`zoo.data.extension`: boxes of masks are added, and group-of boxes left out, of the categories
    named or of `all`), `labels:LABELS,FOLDER[,classes=FILE][,boxes=whole]` (images of which only labels are known, in
    Open Images' form; with `boxes=whole` each label that is present has a box over the whole image), both with
    `hierarchy=FILE` expanded by that class tree,
    `voc:FOLDER,FOLDER` or
    `scenes:IMAGES,SIZE,SEED[,categories=N]...`, the built-in set, drawn in memory. All take `name=`, `split=`,
    `weight=` (factor on the loss of each image), `having=3+7` (only images with an object of these categories),
    `only=3+7` or `only=FILE` (no other categories are known, and objects of others are background; images are chosen
    by all categories, and sampled by these and those of `against=`, in the same form) and
    `found=TABLE` (what detectors have found in them, for box refiners to learn from);
    those with files take `list=FILE` (only the images that it lists, an id a line, as `quorum split` writes),
    `stuff=FOLDER` (a PNG map per image) and `exif=auto|turn|stored` (what becomes of orientation
    marks, see `FolderPictures`) and `missing=FILE`, a COCO file of pseudo labels of the same images, which are ignored.

    Args:
        specs: One, or several to be joined.

    Returns:
        The data set.

    Raises:
        InputError: If a spec is not of this form, or what it names cannot be used.
    """
    if not specs:
        raise InputError(
            f"option {option('data')}", "expected a data set, got none", "Such as " + "; ".join(_FORMS.values())
        )
    parts = [_open(spec) for spec in specs]
    return parts[0] if len(parts) == 1 else JoinedData(parts)


def _open(spec: str) -> Data:
    kind, colon, rest = spec.partition(":")
    if not colon or kind not in _FORMS:
        remedy = "Write it as " + "; ".join(_FORMS.values())
        raise InputError(
            f"option {option('data')}",
            f"expected a kind of data ({', '.join(_FORMS)}) and a colon, got {spec!r}",
            remedy,
        )
    given = _fields(spec, kind, rest)
    if kind == "scenes":
        return _scenes(spec, given)
    readers: Mapping[str, Callable[[Mapping[str, str]], GroundTruth]] = {
        "coco": lambda fields: read_coco(fields["annotations"]),
        "lvis": _lvis,
        "openimages": lambda fields: _open_images(spec, fields),
        "labels": lambda fields: _image_labels(spec, fields),
        "voc": lambda fields: read_truth(Path(fields["annotations"]), None),
    }
    for needed in _ALLOWED[kind][:2]:
        if needed not in given:
            raise InputError(f"data {spec!r}", f"{needed} is missing", f"Write it as {_FORMS[kind]}")
    truth = readers[kind](given)
    if "list" in given:
        truth = listed(truth, Path(given["list"]))
    names = truth.file_name.tolist() if any(truth.file_name) else [str(image) for image in truth.image_id.tolist()]
    stuff = Path(given["stuff"]) if "stuff" in given else None
    sizes = np.stack([truth.height, truth.width], axis=1) if truth.unit == "pixel" else None
    exif = given.get("exif", "auto")
    if exif not in EXIF:
        raise InputError(f"data {spec!r}", f"exif must be one of {', '.join(EXIF)}, got {exif!r}")
    pictures = FolderPictures(Path(given["images"]), names, stuff, sizes=sizes, exif=exif)
    return _annotated(spec, given, truth, pictures, Path(given[_ALLOWED[kind][0]]).stem)


def _fields(spec: str, kind: str, rest: str) -> dict[str, str]:
    """Return the values by name; those without a name come first, in order."""
    allowed = _ALLOWED[kind]
    given: dict[str, str] = {}
    for place, item in enumerate(rest.split(",") if rest else []):
        name, equals, value = item.partition("=")
        if not equals and place < 3 - (kind != "scenes") and len(given) == place:
            name, value = allowed[place], item
        if name not in allowed or not value:
            raise InputError(
                f"data {spec!r}",
                f"expected values in the order of {_FORMS[kind]}, then one of {', '.join(allowed)} as name=value, "
                f"got {item!r}",
            )
        if name in given:
            raise InputError(f"data {spec!r}", f"{name} is given twice")
        given[name] = value
    return given


def _annotated(spec: str, given: Mapping[str, str], truth: GroundTruth, pictures: Pictures, name: str) -> Data:
    data = AnnotatedImages(
        truth,
        pictures,
        name=given.get("name", name),
        split=given.get("split", ""),
        loss_weight=_number(spec, given, "weight", 1.0),
        missing=read_coco(given["missing"]) if "missing" in given else None,
        found=read_table(given["found"]) if "found" in given else None,
        labels_only=spec.startswith("labels:") and given.get("boxes") != "whole",
    )
    images = None
    if "having" in given:
        images = images_having(data, _having(spec, given["having"]))
    if "only" in given:
        data = data.only(_known(truth, given["only"]), _known(truth, given["against"]) if "against" in given else ())
    return data if images is None else SelectedData(data, images)


def _known(truth: GroundTruth, text: str) -> list[int]:
    """Return ids of categories: what has + between, or stands first on the lines of a file."""
    path = Path(text)
    if path.is_file():
        text = "+".join(line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    known: list[int] = truth.category_id[named_categories(truth, text)].tolist()
    return known


def _having(spec: str, text: str) -> list[int]:
    ids = text.split("+")
    if not all(number.isdecimal() for number in ids):
        raise InputError(f"data {spec!r}", f"having must be ids of categories such as 3+7, got {text!r}")
    return [int(number) for number in ids]


def _lvis(given: Mapping[str, str]) -> GroundTruth:
    truth = read_coco(given["annotations"])
    if truth.negative is None or truth.frequency is None:
        raise InputError(
            given["annotations"],
            "has no neg_category_ids of images or no frequency of categories, so it is no LVIS file",
            "Open it as coco:FILE,FOLDER",
        )
    return truth


def _open_images(spec: str, given: Mapping[str, str]) -> GroundTruth:
    masks = {"masks": given.get("masks"), "mask_folder": given.get("mask_folder")}
    truth = read_open_images(
        boxes=given["boxes"],
        image_labels=given.get("labels"),
        class_descriptions=given.get("classes"),
        hierarchy=given.get("hierarchy"),
        **(masks if "extend" not in given else {}),
    )
    if "drop_groups" in given:
        truth = without_groups(truth, named_categories(truth, given["drop_groups"]))
    if "extend" not in given:
        return truth
    if "masks" not in given or "classes" not in given:
        raise InputError(f"data {spec!r}", "extend takes boxes from masks, by category", "Give masks= and classes=")
    tree = given.get("hierarchy")
    drawn = read_open_images(boxes=None, class_descriptions=given["classes"], hierarchy=tree, **masks)
    return with_mask_boxes(truth, drawn, named_categories(truth, given["extend"]))


def _image_labels(spec: str, given: Mapping[str, str]) -> GroundTruth:
    truth = read_open_images(
        boxes=None,
        image_labels=given["labels"],
        class_descriptions=given.get("classes"),
        hierarchy=given.get("hierarchy"),
    )
    boxes = given.get("boxes", "none")
    if boxes not in ("none", "whole"):
        raise InputError(f"data {spec!r}", f"boxes must be none or whole, got {boxes!r}")
    return with_whole_images(truth) if boxes == "whole" else truth


def _scenes(spec: str, given: Mapping[str, str]) -> Data:
    default = Rendered()
    scenery, words = default.scenery, default.scenery.vocabulary
    rendered = Rendered(
        images=_number(spec, given, "images", default.images),
        seed=_number(spec, given, "seed", default.seed),
        scenery=Scenery(
            size=_number(spec, given, "size", scenery.size),
            vocabulary=PictureVocabulary(
                categories=_number(spec, given, "categories", words.categories),
                tail=_number(spec, given, "tail", words.tail),
                rare=_number(spec, given, "rare", words.rare),
                common=_number(spec, given, "common", words.common),
                drawn_tail=_number(spec, given, "drawn_tail", words.tail) if "drawn_tail" in given else None,
            ),
            objects=_number(spec, given, "objects", scenery.objects),
            clutter=_number(spec, given, "clutter", scenery.clutter),
            groups=_number(spec, given, "groups", scenery.groups),
            noise=_number(spec, given, "noise", scenery.noise),
        ),
    )
    name = f"scenes-{rendered.images}-{rendered.scenery.size}-{rendered.seed}"
    return _annotated(spec, given, rendered.truth, RenderedPictures(rendered), name)


def _number(spec: str, given: Mapping[str, str], name: str, default: _Number) -> _Number:
    if name not in given:
        return default
    kind = type(default)
    try:
        return kind(given[name])
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise InputError(f"data {spec!r}", f"{name} must be {expected}, got {given[name]!r}") from None

"""How a results file is to be read: what its image ids, category ids and boxes mean."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from fusion.box_formats import AS_IT_IS, BOX_FORMATS, Picture
from fusion.checks import one_of
from fusion.errors import InputError, option

__all__ = ["AS_FOUND", "CATEGORIES", "IMAGES", "Categories", "Images", "Reading", "TypedMap"]

Images = Literal["id", "file_name", "order", "id_order", "name_order"]
Categories = Literal["id", "name", "order", "coco80", "coco91"]
IMAGES: tuple[str, ...] = get_args(Images)
CATEGORIES: tuple[str, ...] = get_args(Categories)


@dataclass(frozen=True)
class Reading:
    """What the numbers and names of a results file mean; None where it is not said, and the file decides.

    Attributes:
        images: "id": `image_id` is an id of the ground truth. "file_name": it is a file name, or the id of an image
            of the file's own list. "order": it counts the images of the ground truth from 0, as it lists them;
            "id_order", "name_order": sorted by id or file name. None: ids, unless the file has names as well, or the
            ids are names.
        image_offset: Added to integer image ids.
        categories: "id": `category_id` is an id of the ground truth. "name": it is a name, or the id of a category of
            the file's own list. "order": it counts the categories, sorted by id, from 0. "coco80": it counts COCO's
            80 categories from 0, where the ground truth has COCO's own ids (1 to 90); "coco91": the other way round.
            None: ids, unless the file has names as well.
        category_offset: Added to category ids.
        label_map: Source category, by id or name, to target category, by id or name.
        box_format: One of `fusion.box_formats.BOX_FORMATS`; None: the native one.
        picture: What was done to the pictures that the detector saw; None: nothing.
        native: How boxes stand in files of this format, which holds where `box_format` is None.
    """

    images: str | None = None
    image_offset: int = 0
    categories: str | None = None
    category_offset: int = 0
    label_map: Mapping[Any, int | str] | None = field(default=None, hash=False)
    box_format: str | None = None
    picture: Picture | None = None
    native: str = "xywh"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("images", self.images, IMAGES),
            ("categories", self.categories, CATEGORIES),
            ("box_format", self.box_format, BOX_FORMATS),
        ):
            if value is not None:
                one_of(name, value, choices)
        if self.image_offset and self.images == "file_name":
            raise InputError(f"option {option('image_offset')}", "has no meaning where images are joined by file name")
        if self.category_offset and (self.label_map is not None or self.categories == "name"):
            raise InputError(f"option {option('category_offset')}", "has no meaning with a label map or names")

    @property
    def how(self) -> tuple[str, Picture]:
        """The format of the boxes, and what was done to the pictures."""
        return self.box_format or self.native, self.picture or AS_IT_IS

    @property
    def says_images(self) -> bool:
        """Whether it is said what image ids mean."""
        return self.images is not None or self.image_offset != 0

    @property
    def says_categories(self) -> bool:
        """Whether it is said what category ids mean."""
        return self.categories is not None or self.category_offset != 0 or self.label_map is not None

    @property
    def says_boxes(self) -> bool:
        """Whether it is said what boxes mean."""
        return self.box_format is not None or self.picture is not None

    def options(self) -> str:
        """Return the options that say this, in the words of the interface in use."""
        values = {
            "box_format": self.box_format,
            "picture": None if self.picture is None else str(self.picture),
            "images": self.images,
            "image_offset": self.image_offset or None,
            "categories": self.categories,
            "category_offset": self.category_offset or None,
        }
        said = [option(name, value) for name, value in values.items() if value is not None]
        if self.label_map is not None:
            said.append(option("label_map", TypedMap(self.label_map)))
        return " ".join(said)


class TypedMap(dict[Any, Any]):
    """A label map as it is typed, `1=3,3=10` or as JSON where names have commas, and as Python has it."""

    def __str__(self) -> str:
        if any("," in str(source) or not str(source) for source in self):
            return json.dumps({str(source): target for source, target in self.items()}, ensure_ascii=False)
        return ",".join(f"{source}={target}" for source, target in self.items())


AS_FOUND = Reading()
"""Nothing is said: the file decides."""

"""The generated data set: rendered pictures whose every pixel is known, in COCO, LVIS and Open Images form.

For demonstrations, tests and comparisons of methods at small cost. Gains seen here rank methods; they do not predict
gains on photographs. `docs/data.md` shows how the pictures are made and what is in the files.

Each picture has its own streams of random numbers, from the seed and its number: picture 7 of seed 0 is the same
whatever else is asked for. Categories, their frequencies and what goes together do not depend on the seed, so
that sets of different seeds are splits of one data set. Another version of NumPy may draw other numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.ground_truth import GroundTruth
from fusion.atomic import replacing
from fusion.checks import at_least, one_of, within
from fusion.masks import mask_array
from fusion.terminal import progress_bar, stdout
from zoo.synthetic.rendering.formats import write_coco, write_lvis, write_open_images
from zoo.synthetic.rendering.layout import PictureLayout, Scenery, lay_out
from zoo.synthetic.rendering.painting import Painting, paint
from zoo.synthetic.rendering.vocabulary import MATERIALS, PictureVocabulary

__all__ = ["PictureVocabulary", "Rendered", "Scenery", "scenes"]


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A set of rendered pictures; ids are 1 to `images`.

    Attributes:
        images: Number of pictures.
        seed: Of all that is drawn.
        scenery: What the pictures are like.

    Raises:
        InputError: If a value is out of its range.
    """

    images: int = 600
    seed: int = 0
    scenery: Scenery = field(default_factory=Scenery)

    def __post_init__(self) -> None:
        at_least("images", self.images, 1, whole=True)
        at_least("seed", self.seed, 0, whole=True)

    def __len__(self) -> int:
        return self.images

    def layout(self, index: int) -> PictureLayout:
        """Return what is in the picture with this index (its id less 1)."""
        return lay_out(self.scenery, self.seed, index)

    def painting(self, index: int) -> Painting:
        """Return the pixels of the picture with this index."""
        return paint(self.scenery, self.layout(index), self.seed, index)

    @cached_property
    def truth(self) -> GroundTruth:
        """Ground truth in COCO's sense: exact visible masks, boxes around them, groups as crowds."""
        with progress_bar() as bar:
            layouts = (self.layout(index) for index in range(self.images))
            return _truth(self, bar.track(layouts, self.images, description="laying out pictures"))

    def write(self, folder: Path, *, picture: str = "png", labels_only: float = 0.0) -> None:
        """Write the pictures and their annotations.

        The folder gets `images/`, `stuff/` (PNG maps), `instances.json` (COCO), `lvis.json`, `openimages/` (CSV files,
        masks and class tree) and `stuff.json`, which names the materials.

        Args:
            folder: Where to; it must not exist yet.
            picture: "png", or "jpg" (quality 92).
            labels_only: Share of the pictures of which the Open Images files have verified labels, but no boxes.

        Raises:
            InputError: If the folder exists or cannot be written to.
        """
        one_of("picture", picture, ("png", "jpg"))
        within("labels_only", labels_only, 0, 1)
        with replacing(folder, folder=True) as place, progress_bar() as bar:
            for name in ("images", "stuff", "openimages"):
                (place / name).mkdir()
            for index in bar.track(range(self.images), description="painting"):
                _write_picture(place, self.file_name(index, picture), self.painting(index))
            names = [self.file_name(index, picture) for index in range(self.images)]
            write_coco(self.truth, names, place / "instances.json")
            write_lvis(self.truth, names, self.scenery.vocabulary, self.seed, place / "lvis.json")
            write_open_images(
                self.truth, self.scenery.vocabulary, self.seed, place / "openimages", labels_only=labels_only
            )
            _write_json(place / "stuff.json", {"0": "thing"} | {str(i): n for i, n in enumerate(MATERIALS, 1)})

    @staticmethod
    def file_name(index: int, picture: str = "png") -> str:
        """Return the name of a picture's file, which is its Open Images id and the ending."""
        return f"{index + 1:012x}.{picture}"


def scenes(
    folder: Path,
    /,
    *,
    images: int = 600,
    size: int = 128,
    seed: int = 0,
    categories: int = 20,
    tail: float = 1.0,
    rare: float = 0.01,
    common: float = 0.05,
    drawn_tail: float | None = None,
    objects: float = 4.0,
    clutter: float = 3.0,
    groups: float = 0.06,
    noise: float = 1.0,
    labels_only: float = 0.0,
    picture_format: str = "png",
) -> None:
    """Render a data set: pictures with annotations in COCO, LVIS and Open Images form.

    Sets that differ in the seed alone are splits of one data set.

    Args:
        folder: Where to; it must not exist yet.
        images: Number of pictures.
        size: Long side of the pictures in pixels.
        seed: Of all that is drawn.
        categories: Number of categories.
        tail: Exponent of the categories' long tail; 0 makes all equally common.
        rare: Share of the objects below which a category is rare ("r" of LVIS).
        common: Share below which another one is common ("c").
        drawn_tail: Exponent by which this set is drawn, where it is another; "r", "c" and "f" go by --tail.
        objects: Mean number of objects per picture, before those that come with others.
        clutter: Mean number of things per picture that are of no category.
        groups: Share of the pictures with a group of many small objects.
        noise: Strength of shadows, blur and pixel noise.
        labels_only: Share of the pictures of which the Open Images files have verified labels, but no boxes.
        picture_format: png, or jpg (quality 92).
    """
    scenery = Scenery(
        size=size,
        vocabulary=PictureVocabulary(categories=categories, tail=tail, rare=rare, common=common, drawn_tail=drawn_tail),
        objects=objects,
        clutter=clutter,
        groups=groups,
        noise=noise,
    )
    rendered = Rendered(images=images, seed=seed, scenery=scenery)
    rendered.write(folder, picture=picture_format, labels_only=labels_only)
    console = stdout()
    console.print(f"{images} pictures with {len(rendered.truth)} objects in {folder / 'images'}", highlight=False)
    console.print(
        f"--data coco:{folder / 'instances.json'},{folder / 'images'},stuff={folder / 'stuff'}",
        highlight=False,
        soft_wrap=True,
    )


def _truth(rendered: Rendered, layouts: Iterable[PictureLayout]) -> GroundTruth:
    from pycocotools import mask as rle

    image, category, group, area, sizes = [], [], [], [], []
    encoded: list[dict[str, Any]] = []
    for index, layout in enumerate(layouts):
        count = len(layout.category)
        image += [index + 1] * count
        category += (layout.category + 1).tolist()
        group += layout.group.tolist()
        area += np.bincount(layout.owner[layout.owner >= 0], minlength=count).tolist()
        sizes.append((layout.width, layout.height))
        planes = layout.owner[:, :, None] == np.arange(count, dtype=np.int16)
        encoded += rle.encode(np.asfortranarray(planes, np.uint8)) if count else []
    boxes = rle.toBbox(encoded) if encoded else np.zeros((0, 4))
    heights, widths = ([mask["size"][axis] for mask in encoded] for axis in (0, 1))
    words = rendered.scenery.vocabulary
    return GroundTruth.from_arrays(
        image_id=np.arange(1, len(sizes) + 1),
        width=[width for width, _ in sizes],
        height=[height for _, height in sizes],
        file_name=[rendered.file_name(index) for index in range(len(sizes))],
        category_id=np.arange(1, words.categories + 1),
        category_name=[kind.name for kind in words.kinds],
        category_label=[kind.label for kind in words.kinds],
        frequency=words.frequency,
        annotation_image_id=np.array(image, np.int64),
        annotation_category_id=np.array(category, np.int64),
        xywh=boxes,
        area=np.array(area, np.float64),
        crowd=group,
        segmentation=mask_array(heights, widths, [mask["counts"] for mask in encoded]),
        source=f"scenes:{rendered.images},{rendered.scenery.size},{rendered.seed}",
    )


def _write_picture(folder: Path, name: str, painting: Painting) -> None:
    from PIL import Image

    Image.fromarray(painting.pixels).save(folder / "images" / name, quality=92)
    Image.fromarray(painting.stuff).save(folder / "stuff" / Path(name).with_suffix(".png").name)


def _write_json(path: Path, document: Any) -> None:
    import msgspec

    path.write_bytes(msgspec.json.encode(document))

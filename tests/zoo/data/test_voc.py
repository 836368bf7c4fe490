"""Pascal VOC's folders as data of the zoo."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")

from PIL import Image

from fusion.errors import InputError
from zoo.data import open_data

OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox></object>"
PICTURE = (  # says where it was once, as files do
    "<annotation><folder>elsewhere</folder><filename>{}.jpg</filename>"
    "<size><width>16</width><height>12</height><depth>3</depth></size>{}</annotation>"
)


@pytest.fixture
def folder(tmp_path):
    for place in ("Annotations", "JPEGImages"):
        (tmp_path / place).mkdir()
    objects = {"a1": [("white", 2, 10)], "a2": [("platelet", 1, 4), ("white", 5, 5)], "a3": [("red", 0, 8)]}
    for number, (name, found) in enumerate(objects.items()):
        text = PICTURE.format(name, "".join(OBJECT.format(*each) for each in found))
        (tmp_path / "Annotations" / f"{name}.xml").write_text(text)
        Image.new("RGB", (16, 12), (50 * number, 0, 0)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
    (tmp_path / "train.txt").write_text("a2\na1\n")
    return tmp_path


def test_a_list_of_images_leaves_the_categories_of_all(folder):
    spec = f"voc:{folder}/Annotations,{folder}/JPEGImages,name=cells"
    whole, part = open_data(spec), open_data(f"{spec},list={folder}/train.txt,split=train")
    assert (len(whole), len(part), part.name, part.split) == (3, 2, "cells", "train")
    assert part.category_names == whole.category_names == ("platelet", "red", "white")
    assert part.category_ids.tolist() == [1, 2, 3]
    seen = {}
    for index in range(2):
        image, target = part.load(index)
        seen[part.image_ids[index]] = (target.boxes.tolist(), target.labels.tolist(), len(target.ignore_boxes))
        assert image.shape == (3, 12, 16)
    assert seen == {"a1": ([[2, 1, 10, 9]], [3], 0), "a2": ([[1, 1, 4, 9]], [1], 1)}  # what has no width is no object


def test_what_is_missing_is_said(folder):
    with pytest.raises(InputError, match="images is missing"):
        open_data(f"voc:{folder}/Annotations")
    (folder / "odd.txt").write_text("a9\n")
    with pytest.raises(InputError, match="a9"):
        open_data(f"voc:{folder}/Annotations,{folder}/JPEGImages,list={folder}/odd.txt")

"""The generated data set: what is drawn, how common it is, and the files it is written to."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from evaluation import read_coco, read_open_images
from fusion.errors import InputError
from fusion.hierarchy import Hierarchy, read_hierarchy
from zoo.data import open_data
from zoo.synthetic.rendered import PictureVocabulary, Rendered, Scenery, scenes
from zoo.synthetic.rendering.vocabulary import MOST

IMAGES = 400


@pytest.fixture(scope="module")
def rendered():
    return Rendered(images=IMAGES, scenery=Scenery(size=96, vocabulary=PictureVocabulary(categories=12)))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "train"
    scenes(folder, images=80, size=64, seed=3, categories=9, groups=0.3)
    return folder


def decoded(truth, index):
    rows = np.flatnonzero(truth.image == index)
    masks = [truth.masks[int(row)].as_py() for row in rows]
    with warnings.catch_warnings():  # pycocotools 2.0.11 does not know NumPy 2.4
        warnings.simplefilter("ignore", DeprecationWarning)
        return rows, [rle.decode({"size": [m["height"], m["width"]], "counts": m["counts"]}) for m in masks]


def test_a_picture_depends_on_seed_and_number_alone(rendered):
    other = Rendered(images=5, scenery=rendered.scenery)
    for index in range(5):
        assert np.array_equal(rendered.painting(index).pixels, other.painting(index).pixels)
    one, two = (Rendered(images=1, seed=seed, scenery=rendered.scenery).painting(0).pixels for seed in (0, 1))
    assert one.shape != two.shape or (one != two).any()
    assert not np.array_equal(rendered.painting(0).pixels, rendered.painting(1).pixels)


def test_annotations_are_the_visible_pixels(rendered):
    truth = rendered.truth
    for index in range(40):
        layout, painting = rendered.layout(index), rendered.painting(index)
        rows, masks = decoded(truth, index)
        assert painting.pixels.shape == (truth.height[index], truth.width[index], 3)
        assert len(rows) == len(layout.category)
        together = np.zeros(layout.owner.shape, np.int64)
        for k, (row, mask) in enumerate(zip(rows, masks, strict=True)):
            assert np.array_equal(mask.astype(bool), layout.owner == k)
            together += mask
            ys, xs = np.nonzero(mask)
            assert truth.xywh[row].tolist() == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
            assert truth.area[row] == mask.sum() >= (1 if truth.crowd[row] else 16)
        assert together.max(initial=0) <= 1
        single = np.isin(layout.owner, np.flatnonzero(~layout.group))
        assert np.array_equal(painting.stuff == 0, single)
        assert ((painting.stuff == 255) == ((layout.owner >= -1) & ~single)).all()
        assert set(np.unique(painting.stuff)) <= {0, 1, 2, 3, 4, 255}


def test_what_hides_an_object_is_painted(rendered):
    """Each category's pixels show its colour: without noise the disc of category 1 is red wherever its mask is."""
    clean = Rendered(images=40, scenery=Scenery(size=96, noise=0, vocabulary=PictureVocabulary(categories=12)))
    assert clean.scenery.vocabulary.kinds[0].name == "red disc"
    seen = 0
    for index in range(40):
        layout, pixels = clean.layout(index), clean.painting(index).pixels.astype(int)
        for k in np.flatnonzero((layout.category == 0) & ~layout.group):
            inside = pixels[layout.owner == k]
            red = (inside[:, 0] > inside[:, 1] + 20) & (inside[:, 0] > inside[:, 2] + 20)
            assert red.mean() > 0.75  # the rest is the soft edge
            seen += 1
    assert seen > 10


def test_the_tail_is_long(rendered):
    count = np.bincount(rendered.truth.category, minlength=12)
    assert count[0] > 5 * count[-1] > 0
    assert np.corrcoef(np.log(np.arange(1, 13)), np.log(count))[0, 1] < -0.8
    words = PictureVocabulary(categories=60, tail=1.2)
    groups = "".join(words.frequency)
    assert groups == "".join(sorted(groups, key="fcr".index))
    assert set(groups) == set("fcr")
    assert words.share.sum() == pytest.approx(1)


def test_a_validation_set_may_be_drawn_more_evenly_with_the_groups_of_the_training(tmp_path):
    """64 categories of which over ten have fewer than ten training images, in LVIS's form."""
    words = PictureVocabulary(categories=64, tail=1.5, rare=0.0015, common=0.013)
    assert "".join(words.frequency) == "f" * 10 + "c" * 33 + "r" * 21
    even = replace(words, drawn_tail=0.0)
    assert even.frequency == words.frequency
    assert np.allclose(even.share, 1 / 64)
    labels = Rendered(images=500, scenery=Scenery(size=32, vocabulary=words)).truth  # a third of the images will do
    images = [len(set(labels.image[labels.category == k].tolist())) for k in range(64)]
    assert sum(count < 10 / 3 for count in images) > 10
    assert images[0] > 300
    for name, value in (("drawn_tail", -1), ("rare", 2), ("common", 0.001)):
        with pytest.raises(InputError, match=name):
            replace(words, **{name: value})
    scenes(tmp_path / "val", images=30, size=32, categories=64, tail=1.5, rare=0.0015, common=0.013, drawn_tail=0.0)
    data = open_data(f"lvis:{tmp_path}/val/lvis.json,{tmp_path}/val/images")
    assert data.truth.frequency == words.frequency
    drawn = open_data("scenes:30,32,0,categories=64,tail=1.5,rare=.0015,common=.013,drawn_tail=0")
    assert drawn.image_ids == data.image_ids
    assert set(data.truth.category.tolist()) <= set(drawn.truth.category.tolist())
    assert drawn.truth.frequency == words.frequency


def test_some_categories_come_together(rendered):
    truth, words = rendered.truth, rendered.scenery.vocabulary
    there = np.zeros((IMAGES, 12), bool)
    there[truth.image, truth.category] = True
    for one, other in words.companion.items():
        with_one, without = there[there[:, one], other].mean(), there[~there[:, one], other].mean()
        assert with_one > without + 0.2, words.kinds[one].name


def test_some_categories_hold_others(rendered):
    truth, words = rendered.truth, rendered.scenery.vocabulary
    low, high = truth.xywh[:, :2], truth.xywh[:, :2] + truth.xywh[:, 2:]

    def holding(outer, inner):
        """Share of the objects of one category with one of the other inside their box."""
        hosts = np.flatnonzero((truth.category == outer) & ~truth.crowd)
        return np.mean(
            [
                (
                    (truth.image == truth.image[h])
                    & (truth.category == inner)
                    & (low >= low[h]).all(1)
                    & (high <= high[h]).all(1)
                ).any()
                for h in hosts
            ]
        )

    for outer, inner in words.content.items():
        assert holding(outer, inner) > 0.4 > 4 * holding(inner, outer)


def test_groups_are_regions_of_many(rendered):
    truth = rendered.truth
    assert 0.02 < truth.crowd.sum() / IMAGES < 0.12
    parts = []
    for row in np.flatnonzero(truth.crowd):
        layout = rendered.layout(int(truth.image[row]))
        k = np.flatnonzero(layout.group)[0]
        parts.append(sum(element.owner == k for element in layout.elements))
    assert np.mean(parts) > 6


def test_empty_pictures_and_empty_sets():
    bare = Rendered(images=3, scenery=Scenery(size=64, objects=0, groups=0, clutter=0))
    assert len(bare.truth) == 0
    assert bare.painting(1).pixels.std() > 1
    assert (bare.painting(1).stuff > 0).all()


@pytest.mark.parametrize("categories", [1, 2, 5, 20, 37, MOST])
def test_vocabulary(categories):
    words = PictureVocabulary(categories=categories)
    assert len(set(words.kinds)) == len(words.kinds) == categories
    assert len({kind.label for kind in words.kinds}) == categories
    tree = Hierarchy.from_tree(words.tree())
    assert set(tree) == {kind.label for kind in words.kinds} | {label for label, _ in words.parents}
    for kind in words.kinds:
        assert len(tree.ancestors(kind.label)) == 2
        assert f"/q/{kind.shape}" in tree.ancestors(kind.label)
    assert not set(words.lookalikes) & set(words.kinds)
    shapes = {kind.shape for kind in words.kinds}
    assert {kind.shape for kind in words.lookalikes} <= shapes
    if categories > 3:
        assert len(shapes) < categories


def test_options_are_checked():
    for make in (
        lambda: PictureVocabulary(categories=0),
        lambda: PictureVocabulary(categories=MOST + 1),
        lambda: Scenery(size=16),
        lambda: Scenery(noise=9),
        lambda: Rendered(images=0),
    ):
        with pytest.raises(InputError, match="option"):
            make()


def test_files_hold_the_pictures(written):
    rendered = Rendered(
        images=80, seed=3, scenery=Scenery(size=64, vocabulary=PictureVocabulary(categories=9), groups=0.3)
    )
    truth = read_coco(written / "instances.json")
    assert truth.notes == ()
    assert truth.fingerprint == rendered.truth.fingerprint
    assert truth.masks.equals(rendered.truth.masks)
    for index in (0, 41, 79):
        painting = rendered.painting(index)
        name = truth.file_name[index]
        with Image.open(written / "images" / name) as picture, Image.open(written / "stuff" / name) as stuff:
            assert np.array_equal(np.array(picture), painting.pixels)
            assert np.array_equal(np.array(stuff), painting.stuff)
    assert len(list((written / "images").iterdir())) == len(list((written / "stuff").iterdir())) == 80


def open_images(folder, **given):
    place = folder / "openimages"
    return read_open_images(
        boxes=place / "boxes.csv",
        image_labels=place / "labels.csv",
        class_descriptions=place / "classes.csv",
        **given,
    )


def test_coco_and_open_images_agree(written):
    coco = read_coco(written / "instances.json")
    other = open_images(written, masks=written / "openimages" / "masks.csv")
    assert other.notes == ()
    assert coco.crowd.any()
    assert [Path(name).stem for name in coco.file_name] == other.image_id.tolist()
    assert other.category_name[:9] == coco.category_name
    size = np.stack([coco.width, coco.height] * 2, 1)
    columns = []
    for truth, boxes in ((coco, coco.xywh), (other, other.xywh * size[other.image])):
        boxes = np.round(boxes).astype(int)
        order = np.lexsort((*boxes.T, truth.category, truth.image))
        columns.append(np.c_[truth.image, truth.category, boxes, truth.crowd][order])
        columns.append([truth.masks[int(row)].as_py() for row in order])
    assert np.array_equal(columns[0], columns[2])
    single = columns[0][:, -1] == 0
    assert [m for m, s in zip(columns[1], single, strict=True) if s] == [
        m for m, s in zip(columns[3], single, strict=True) if s
    ]
    assert np.abs(other.xywh * size[other.image] - np.round(other.xywh * size[other.image])).max() < 1e-9
    for index in range(80):
        there = set(coco.category[coco.image == index].tolist())
        present, absent = (
            set(labels.category[labels.start[index] : labels.start[index + 1]].tolist())
            for labels in (other.positive, other.negative)
        )
        assert present == there
        assert not absent & there


def test_open_images_masks_are_the_same_encoded_and_as_pictures(written):
    place = written / "openimages"
    encoded = open_images(written, masks=place / "masks.csv")
    drawn = open_images(written, masks=place / "segmentation.csv", mask_folder=place / "segmentation")
    assert drawn.masks.null_count == np.count_nonzero(drawn.crowd) > 0
    assert drawn.masks.equals(encoded.masks)
    assert drawn.notes == ()


def test_open_images_tell_sizes_and_some_have_labels_alone(written, tmp_path):
    scenes(tmp_path / "set", images=80, size=64, seed=3, categories=9, groups=0.3, labels_only=0.4)
    whole, part = read_coco(written / "instances.json"), open_images(tmp_path / "set")
    place = tmp_path / "set" / "openimages"
    boxed = read_open_images(boxes=place / "boxes.csv", class_descriptions=place / "classes.csv")
    names = [Path(name).stem for name in whole.file_name]
    kept = np.isin(names, boxed.image_id.tolist())
    assert 20 < kept.sum() < 70
    assert part.image_id.tolist() == names
    assert np.array_equal(boxed.width, whole.width[kept])
    assert np.array_equal(boxed.height, whole.height[kept])
    assert not part.width[~kept].any()
    assert len(part) == len(boxed) == np.count_nonzero(kept[whole.image])
    only = np.flatnonzero(~kept)
    labels = [set(part.positive.category[part.positive.start[i] : part.positive.start[i + 1]].tolist()) for i in only]
    assert labels == [set(whole.category[whole.image == i].tolist()) for i in only]
    data = open_data(f"openimages:{place}/boxes.csv,{tmp_path}/set/images,classes={place}/classes.csv")
    assert data.sizes.tolist() == np.stack([whole.height, whole.width], 1)[kept].tolist()
    scenes(tmp_path / "none", images=3, size=64, seed=3, labels_only=1)
    assert len(open_images(tmp_path / "none")) == 0


def test_open_images_expand_by_the_tree(written):
    tree = read_hierarchy(written / "openimages" / "hierarchy.json")
    raw, expanded = open_images(written), open_images(written, hierarchy=tree)
    assert expanded.notes == ()
    assert len(expanded) == 3 * len(raw)  # each box for its category, its shape and its family


def test_lvis_is_a_verified_part_of_coco(written):
    coco, lvis = read_coco(written / "instances.json"), read_coco(written / "lvis.json")
    assert lvis.frequency is not None
    assert set(lvis.frequency) == {"f", "c"}
    kept = np.searchsorted(coco.annotation_id, lvis.annotation_id)
    assert np.array_equal(coco.xywh[kept], lvis.xywh)
    assert not coco.crowd[kept].any()
    assert len(lvis) < (~coco.crowd).sum()
    unlisted = 0
    for index in range(80):
        mine = coco.image == index
        there = set(coco.category[mine].tolist())
        groups = set(coco.category[mine & coco.crowd].tolist())
        annotated = set(lvis.category[lvis.image == index].tolist())
        absent, partial = (
            set(labels.category[labels.start[index] : labels.start[index + 1]].tolist())
            for labels in (lvis.negative, lvis.not_exhaustive)
        )
        assert not absent & there
        assert partial == groups & annotated
        unlisted += len(there - annotated - groups)
        for category in annotated:  # a category was asked about as a whole
            assert (lvis.category[lvis.image == index] == category).sum() == (
                mine & (coco.category == category) & ~coco.crowd
            ).sum()
    assert unlisted > 5


def test_jpeg_and_no_overwriting(tmp_path):
    folder = tmp_path / "set"
    scenes(folder, images=2, size=48, picture_format="jpg")
    truth = read_coco(folder / "instances.json")
    with Image.open(folder / "images" / truth.file_name[0]) as picture:
        assert (picture.format, picture.size) == ("JPEG", (truth.width[0], truth.height[0]))
    with pytest.raises(InputError, match="exists already"):
        scenes(folder, images=2, size=48)
    with pytest.raises(InputError, match="picture"):
        scenes(tmp_path / "other", images=2, picture_format="bmp")

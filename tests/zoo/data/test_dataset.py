"""From ground truth of each kind to records; joined data; pictures; names of data sets."""

# ruff: noqa: E402

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("torchvision", reason="the extra zoo (torchvision) is not installed")

from PIL import Image
from pycocotools import mask as rle

from evaluation import read_coco
from evaluation.ground_truth import GroundTruth
from fusion.errors import InputError
from tests.zoo.data.cases import Blank, truth_of
from zoo.config import TrainData
from zoo.data import AnnotatedImages, JoinedData, Target, TrainSet, collate, open_data
from zoo.data.masks import mask_pixels, unpack
from zoo.data.pictures import FolderPictures
from zoo.synthetic.rendered import scenes

DATA = Path(__file__).parents[4] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not beside the checkout (../shared/data)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("data") / "set"
    scenes(place, images=24, size=64, categories=6, groups=0.3)
    return place


def coco(folder, **given):
    extra = "".join(f",{name}={value}" for name, value in given.items())
    return open_data(f"coco:{folder / 'instances.json'},{folder / 'images'}{extra}")


def write(path, **parts):
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": [{"id": 3, "name": "a"}], **parts}))
    return read_coco(path)


def test_record_lengths_are_checked():
    target = Target.empty(1, (4, 5), boxes=torch.zeros(2, 4), labels=torch.tensor([1, 2]))
    target.check()
    assert target.box_weight.tolist() == [1, 1]
    images, targets = collate([(torch.zeros(3, 4, 5), target)] * 2)
    assert len(images) == len(targets) == 2
    assert target.to("cpu").labels.tolist() == [1, 2]
    for wrong in ({"labels": torch.tensor([1])}, {"labels": torch.tensor([0, 1])}, {"masks": []}):
        with pytest.raises(ValueError, match="target of image 1"):
            Target.empty(1, (4, 5), **({"boxes": torch.zeros(2, 4), "labels": torch.tensor([1, 2])} | wrong)).check()


def test_what_is_no_object_is_ignored(tmp_path):
    square = [[2.0, 2.0, 8.0, 2.0, 8.0, 8.0, 2.0, 8.0]]
    runs = {"size": [20, 30], "counts": [3, 6, 591]}
    rows = [
        {"bbox": [2, 2, 6, 6], "segmentation": square},
        {"bbox": [0, 3, 1, 6], "segmentation": runs, "iscrowd": 1},
        {"bbox": [4, 4, 0, 5], "segmentation": square},
        {"bbox": [5, 4, 3, 5], "segmentation": square, "area": 0},
        {"bbox": [25, 15, 9, 9], "segmentation": {"size": [20, 30], "counts": [3, 6, 591]}},
        {"bbox": [9, 9, 2, 3], "segmentation": [], "ignore": 1},
        {"bbox": [9, 9, 3, 3]},
    ]
    truth = write(
        tmp_path / "a.json",
        images=[{"id": 7, "width": 30, "height": 20}, {"id": 5, "width": 30, "height": 20}],
        annotations=[
            {"id": k, "image_id": 7, "category_id": 3, "area": 9, "iscrowd": 0} | row for k, row in enumerate(rows, 1)
        ],
    )
    data = AnnotatedImages(truth, Blank(truth), name="a", loss_weight=0.5)
    empty, target = data.load(0)[1], data.load(1)[1]
    empty.check()
    target.check()
    assert data.image_ids == [5, 7]
    assert len(empty.boxes) == 0
    assert empty.masks == []
    assert target.boxes.tolist() == [[2, 2, 8, 8], [25, 15, 30, 20], [9, 9, 12, 12]]
    assert target.labels.tolist() == [1, 1, 1]
    assert len(target.ignore_boxes) == 4
    assert target.ignore_labels.tolist() == [1] * 4
    assert target.masks[0] == square  # polygons stay polygons
    assert rle.area(target.masks[1]) == 6
    assert target.masks[2] is None
    assert target.loss_weight == 0.5
    assert target.source == "a"
    assert target.image_labels is None
    assert target.verified is None
    assert data.image_categories.start.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("segmentation", "problem"),
    [
        ([[1e15, 0, 5, 0, 5, 5]], r"a polygon reaches to 1e\+15 in an image of 20 x 30 pixels"),
        ([[1, 1, 5, 1, 5, 5, 7]], "an odd number of coordinates"),
        ({"size": [20, 30], "counts": [5, 600]}, "the runs do not fit the size"),
        ({"size": [20, 30]}, "cannot be read"),
        ({"size": [20, 30], "counts": "0000000PPPPP7777"}, "cannot be read"),
        ("polygon", "cannot be read"),
        ([["a", 1, 1, 1, 1, 1]], "cannot be read"),
    ],
)
def test_a_segmentation_that_cannot_be_read_is_named(tmp_path, segmentation, problem):
    truth = write(
        tmp_path / "a.json",
        images=[{"id": 7, "width": 30, "height": 20}],
        annotations=[
            {"id": 41, "image_id": 7, "category_id": 3, "bbox": [2, 2, 6, 6], "segmentation": segmentation},
        ],
    )
    with pytest.raises(InputError, match=rf"a\.json, annotation 41: its segmentation .*{problem}.*Mend or drop it"):
        AnnotatedImages(truth, Blank(truth), name="a").load(0)


@real
def test_real_coco():
    truth = read_coco(DATA / "coco_fake100" / "instances_val2014_100.json")
    data = AnnotatedImages(truth, Blank(truth), name="coco")
    objects = ignored = 0
    for index in range(len(data)):
        target = data.load(index)[1]
        target.check()
        objects, ignored = objects + len(target.boxes), ignored + len(target.ignore_boxes)
        if index < 20:
            mine = (truth.image == index) & ~truth.crowd
            assert (truth.category[mine] + 1).tolist() == target.labels.tolist()
            for row, mask in zip(np.flatnonzero(mine), target.masks, strict=True):
                one = truth.masks[int(row)].as_py()
                given = {"size": [one["height"], one["width"]], "counts": one["counts"]}
                assert np.array_equal(mask_pixels(mask, target.size), unpack(given))
    assert objects + ignored == len(truth)
    assert ignored >= truth.crowd.sum() > 0


@real
def test_real_lvis():
    truth = read_coco(DATA / "lvis100" / "lvis_val_100.json")
    data = AnnotatedImages(truth, Blank(truth), name="lvis")
    listed = 0
    for index in range(len(data)):
        target = data.load(index)[1]
        target.check()
        assert not set(target.neg_classes.tolist()) & set(target.labels.tolist())
        listed += len(target.neg_classes) + len(target.not_exhaustive)
        assert target.image_labels is None
    assert listed == len(truth.negative.category) + len(truth.not_exhaustive.category) > 0
    assert len(data.category_ids) == 1230


@pytest.mark.parametrize("form", ["coco", "openimages"])
def test_a_list_chooses_images(folder, tmp_path, form):
    place, images = folder / "openimages", folder / "images"
    spec = f"coco:{folder}/instances.json,{images}"
    if form == "openimages":
        spec = f"openimages:{place}/boxes.csv,{images},classes={place}/classes.csv,labels={place}/labels.csv"
    whole = open_data(spec)
    ids = whole.image_ids[3:20:4]
    (tmp_path / "some.txt").write_text("\n".join(map(str, ids[::-1])))
    some = open_data(f"{spec},list={tmp_path}/some.txt")
    assert some.image_ids == ids
    for index in range(len(some)):
        (pixels, target), (other, same) = some.load(index), whole.load(3 + 4 * index)
        assert torch.equal(pixels, other)
        assert torch.equal(target.boxes, same.boxes)
        assert target.neg_classes.tolist() == same.neg_classes.tolist()
    (tmp_path / "odd.txt").write_text(f"{ids[0]}\n999\n")
    with pytest.raises(InputError, match=r"odd\.txt"):
        open_data(f"{spec},list={tmp_path}/odd.txt")


def test_all_three_forms_give_the_same_objects(folder):
    place = folder / "openimages"
    sets = {
        "coco": coco(folder, stuff=folder / "stuff", split="train"),
        "lvis": open_data(f"lvis:{folder / 'lvis.json'},{folder / 'images'}"),
        "oi": open_data(
            f"openimages:{place / 'boxes.csv'},{folder / 'images'},classes={place / 'classes.csv'},"
            f"labels={place / 'labels.csv'},masks={place / 'masks.csv'}"
        ),
        "memory": open_data("scenes:24,64,0,categories=6,groups=.3"),
    }
    assert sets["coco"].split == "train"
    assert sets["coco"].name == "instances"
    assert sets["coco"].fingerprint == sets["memory"].fingerprint
    some_partial = 0
    for index in range(24):
        loaded = {name: data.load(index) for name, data in sets.items()}
        for image, target in loaded.values():
            target.check()
            assert torch.equal(image, loaded["coco"][0])
            assert image.dtype == torch.uint8
            assert tuple(image.shape[1:]) == target.size == target.original_size
        targets = {name: target for name, (_, target) in loaded.items()}
        one = targets["coco"]
        assert torch.equal(one.boxes, targets["memory"].boxes)
        assert one.masks == targets["memory"].masks
        assert torch.equal(one.stuff, targets["memory"].stuff)
        assert sorted(one.boxes.tolist()) == sorted((targets["oi"].boxes * 64).round().div(64).tolist())
        assert sorted(one.labels.tolist()) == sorted(targets["oi"].labels.tolist())
        assert sorted(m["counts"] for m in one.masks) == sorted(m["counts"] for m in targets["oi"].masks)
        assert torch.equal(one.ignore_boxes, targets["oi"].ignore_boxes)
        everything = set(one.labels.tolist()) | set(one.ignore_labels.tolist())
        assert set((torch.nonzero(targets["oi"].image_labels)[:, 0] + 1).tolist()) == everything
        verified = set((torch.nonzero(targets["oi"].verified)[:, 0] + 1).tolist())
        assert verified == everything | set(targets["oi"].neg_classes.tolist())
        assert not set(targets["lvis"].neg_classes.tolist()) & everything
        assert set(targets["lvis"].not_exhaustive.tolist()) <= set(one.ignore_labels.tolist())
        some_partial += len(targets["lvis"].not_exhaustive)
        assert len(targets["lvis"].ignore_boxes) == 0
    assert some_partial > 0
    assert np.array_equal(sets["oi"].sizes, sets["coco"].sizes)
    assert sets["oi"].has_masks
    assert not sets["oi"].has_stuff
    assert sets["coco"].has_stuff


def test_open_images_masks_become_as_large_as_the_image():
    plane = np.zeros((10, 20), np.uint8)
    plane[2:5, 4:12] = 1
    truth = GroundTruth.from_arrays(
        image_id=["a"],
        category_id=[1],
        annotation_image_id=["a"],
        annotation_category_id=[1],
        xywh=[[0.2, 0.2, 0.4, 0.3]],
        segmentation=[rle.encode(np.asfortranarray(plane))],
        width=[20],
        height=[10],
        unit="normalized",
    )
    target = AnnotatedImages(truth, Blank(size=(30, 60)), name="oi").load(0)[1]
    assert target.boxes.tolist() == [[12, 6, 36, 15]]
    assert np.array_equal(mask_pixels(target.masks[0], (30, 60)), np.kron(plane, np.ones((3, 3), np.uint8)))


def test_joined_data(folder):
    first, second = coco(folder), open_data("scenes:5,64,1,categories=6,weight=.25")
    joined = JoinedData([first, second])
    assert len(joined) == 29
    assert joined.name == "instances+scenes-5-64-1"
    assert joined.image_ids == first.image_ids + second.image_ids
    assert np.array_equal(joined.sizes, np.concatenate([first.sizes, second.sizes]))
    for index, (part, local) in {0: (first, 0), 23: (first, 23), 24: (second, 0), 28: (second, 4)}.items():
        image, target = joined.load(index)
        assert torch.equal(image, part.load(local)[0])
        assert target.source == part.name
        assert target.loss_weight == (1 if part is first else 0.25)
    labels = joined.image_categories
    for index in range(29):
        listed = labels.category[labels.start[index] : labels.start[index + 1]] + 1
        assert listed.tolist() == sorted(set(joined.load(index)[1].labels.tolist()))
    assert TrainSet(joined, TrainData(short=(40,), long=80), 0)[0, 28][1].source == second.name
    assert joined.fingerprint not in (first.fingerprint, second.fingerprint)
    assert joined.has_masks
    assert not joined.has_stuff
    with pytest.raises(InputError, match="no common ground truth"):
        _ = joined.truth
    with pytest.raises(InputError, match="have one name"):
        JoinedData([first, first])
    with pytest.raises(InputError, match="7 categories"):
        JoinedData([first, open_data("scenes:5,64,1,categories=7")])


def test_pictures_of_another_size_are_refused():
    truth = truth_of([[1]])
    with pytest.raises(InputError, match=r"30 x 40 pixels .* its picture has 31 x 40"):
        AnnotatedImages(truth, Blank(size=(31, 40)), name="a").load(0)


def test_pictures(tmp_path):
    grey = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20)
    grey.save(tmp_path / "a.png")
    turned = Image.new("RGB", (4, 3), (9, 8, 7))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "b.jpg", exif=exif)
    (tmp_path / "c.png").write_bytes(b"no picture")
    pictures = FolderPictures(tmp_path, ["a", "b.jpg", "c.png", "d.png", ""])
    assert pictures.pixels(0).shape == (3, 4, 3)
    assert pictures.pixels(0)[2, 3].tolist() == [220] * 3
    assert pictures.size(0) == (3, 4)
    assert pictures.size(1) == (4, 3) == pictures.pixels(1).shape[:2]
    assert pictures.stuff(0) is None
    for index, problem in ((2, "cannot be read as an image"), (3, "no such image"), (4, "name no file")):
        with pytest.raises(InputError, match=problem):
            pictures.pixels(index)
    stuff = FolderPictures(tmp_path, ["a.png", "b.jpg"], tmp_path)
    assert stuff.stuff(0).shape == (3, 4)
    with pytest.raises(InputError, match="no stuff map"):
        stuff.stuff(1)
    with pytest.raises(InputError, match="expected a folder of images"):
        FolderPictures(tmp_path / "none", ["a"])


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("instances.json", "kind of data"),
        ("pascal:a,b", "kind of data"),
        ("coco:a.json", "images is missing"),
        ("coco:a.json,b,c", "in the order of"),
        ("coco:a.json,b,classes=c", "in the order of"),
        ("coco:a.json,b,name=", "in the order of"),
        ("coco:a.json,b,images=c", "given twice"),
        ("coco:none.json,images", "no such file"),
        ("scenes:many", "images must be a whole number"),
        ("scenes:10,64,0,tail=x", "tail must be a number"),
        ("scenes:0", "option images"),
        ("scenes:10,8", "option size"),
        ("openimages:boxes.csv", "images is missing"),
    ],
)
def test_specs_that_say_nothing(spec, problem):
    with pytest.raises(InputError, match=problem):
        open_data(spec)


def test_specs(folder):
    with pytest.raises(InputError, match="got none"):
        open_data()
    with pytest.raises(InputError, match="no LVIS file"):
        open_data(f"lvis:{folder / 'instances.json'},{folder / 'images'}")
    with pytest.raises(InputError, match="no such image"):
        open_data(f"coco:{folder / 'instances.json'},{folder / 'openimages'}")
    named = open_data("scenes:3,64,2,name=x,split=val")
    assert (named.name, named.split, len(named)) == ("x", "val", 3)
    assert open_data("scenes:seed=4,images=2").name == "scenes-2-128-4"
    both = open_data("scenes:3,64,0", "scenes:2,64,1")
    assert isinstance(both, JoinedData)
    assert len(both) == 5

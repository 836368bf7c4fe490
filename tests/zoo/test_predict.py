from pathlib import Path

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("timm", reason="timm is not installed")

from evaluation.prepared import evaluate  # noqa: E402
from fusion.errors import InputError  # noqa: E402
from fusion.shards import Shard  # noqa: E402
from fusion.storage import part_of, read_table, write_table  # noqa: E402
from fusion.table import DetectionTable, Metadata  # noqa: E402
from zoo.checkpoint import weights_file  # noqa: E402
from zoo.config import Infer, MaskHead, MaskIoU, Model, replace  # noqa: E402
from zoo.data import View, ViewSet, open_data  # noqa: E402
from zoo.data.masks import unpack  # noqa: E402
from zoo.inference import load_model  # noqa: E402
from zoo.predict import predict  # noqa: E402
from zoo.runs import Identity, read_json, write_json  # noqa: E402
from zoo.scale import tiny  # noqa: E402
from zoo.store import hash_of  # noqa: E402
from zoo.train import train  # noqa: E402
from zoo.views import mirrored, views_of  # noqa: E402

VIEW, FLIP = View(64, 96), View(64, 96, True)


def config(mask=None):
    model = tiny(Model(mask=mask))
    return replace(
        model,
        data=replace(model.data, short=(64,), long=96),
        train=replace(model.train, segments=(), steps=2, batch=2, warmup_steps=0, checkpoint_steps=100),
        infer=replace(model.infer, short=(64,), long=96, score=0.01, detections=6),
    )


@pytest.fixture(scope="module")
def data():
    return open_data("scenes:11,64,3,categories=4,split=val")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "masker"
    train(config(MaskHead(iou=MaskIoU(convs=2))), open_data("scenes:4,64,0,categories=4"), folder)
    return folder


@pytest.fixture(scope="module")
def table(run, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "both.parquet"
    report = predict(run, data, path, views=(VIEW, FLIP))
    assert report.images == 11
    assert report.detections == len(read_table(path)) > 11
    return read_table(path)


class Counting:
    """A data set that counts what is loaded, and may fail."""

    def __init__(self, data, fail_at=None):
        self._data, self._fail_at, self.loaded = data, fail_at, 0

    def __getattr__(self, name):
        return getattr(self._data, name)

    def __len__(self):
        return len(self._data)

    def load(self, index):
        self.loaded += 1
        if self.loaded == self._fail_at:
            raise OSError("the power is gone")
        return self._data.load(index)


def same(one, other):
    return one.arrow.equals(other.arrow)


def test_a_table_says_what_it_is(table, run, data):
    assert table.score.dtype == np.float32
    assert table.xywh.dtype == np.float32
    assert table.mask is not None
    assert set(table.arrow["view"].to_pylist()) == {"64", "64-flip"}
    about = table.metadata
    assert (about.member, about.split, about.dataset) == ("masker", "val", data.name)
    assert about.categories == data.truth.categories_fingerprint
    assert about.made_by["checkpoint"] == hash_of(weights_file(run))
    assert {"torch", "timm", "quorum-detection"} <= set(about.made_by["versions"])
    assert evaluate(table, data.truth).AP >= 0


def test_rows_are_what_the_model_finds(table, run, data):
    model, identity = load_model(run)
    for index in (0, 7):
        with torch.inference_mode():
            image, target = ViewSet(data, 64, 96)[index]
            (found,) = model([image], [target])
        image_id = data.image_ids[index]
        rows = table.arrow.filter((table.image_id == image_id) & (np.array(table.arrow["view"].to_pylist()) == "64"))
        mine = DetectionTable.from_arrow(rows, table.metadata)
        xyxy = np.concatenate([mine.xywh[:, :2], mine.xywh[:, :2] + mine.xywh[:, 2:]], axis=1)
        np.testing.assert_allclose(xyxy, found.boxes.numpy(), rtol=0, atol=1e-4)
        assert mine.score.tolist() == found.scores.tolist()
        assert mine.category_id.tolist() == [identity.category_ids[label - 1] for label in found.labels.tolist()]
        for mask, expected in zip(mine.mask.to_pylist(), found.masks, strict=True):
            assert (mask["counts"], [mask["height"], mask["width"]]) == (expected["counts"], list(expected["size"]))


def test_flipped_views_are_brought_back(run, data, table):
    model, _ = load_model(run)
    index = 2
    width = int(data.sizes[index, 1])
    with torch.inference_mode():
        image, target = ViewSet(data, 64, 96)[index]
        (found,) = model([image.flip(-1)], [target])
    names = np.array(table.arrow["view"].to_pylist())
    rows = table.arrow.filter((table.image_id == data.image_ids[index]) & (names == "64-flip"))
    mine = DetectionTable.from_arrow(rows, table.metadata)
    boxes = found.boxes.numpy()
    np.testing.assert_allclose(mine.xywh[:, 0], width - boxes[:, 2], rtol=0, atol=1e-3)
    np.testing.assert_allclose(mine.xywh[:, 1:3], np.stack([boxes[:, 1], boxes[:, 2] - boxes[:, 0]], 1), atol=1e-3)
    for mask, expected in zip(mine.mask.to_pylist(), found.masks, strict=True):
        pixels = unpack({"size": [mask["height"], mask["width"]], "counts": mask["counts"]})
        assert np.array_equal(pixels, unpack(expected)[:, ::-1])


def test_parts_hold_the_same_rows(run, data, table, tmp_path):
    predict(run, data, tmp_path / "parts", views=(VIEW, FLIP), parts=3, batch=1)
    assert same(read_table(tmp_path / "parts"), table)
    for number in range(3):
        ids = read_table(tmp_path / "parts" / f"part-{number:05d}.parquet").image_ids
        assert set(part_of(ids, 3).tolist()) <= {number}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts"]
    with pytest.raises(InputError, match="exists already"):
        predict(run, data, tmp_path / "parts", parts=3)


def test_an_interrupted_run_is_taken_up(run, data, table, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.predict._CHUNK", 4)  # 11 images: parts of 4, 4 and 3
    path, views = tmp_path / "x.parquet", (VIEW, FLIP)
    with pytest.raises(OSError, match="power"):
        predict(run, Counting(data, fail_at=2 * 4 + 5), path, views=views)
    assert not path.exists()
    counting, steps = Counting(data), []
    report = predict(run, counting, path, views=views, progress=lambda done, total: steps.append((done, total)))
    assert (report.resumed, counting.loaded) == (1, 2 * 7)
    assert steps[0] == (8, 22)
    assert steps[-1] == (22, 22)
    assert same(read_table(path), table)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.parquet"]


def test_shares_make_one_table(run, data, table, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "2")  # of torchrun's processes, which are not waited for
    monkeypatch.setenv("WORLD_SIZE", "3")
    output, images = tmp_path / "x", []
    for text in ("3/3", "1/3", "auto", "2/3"):
        counting = Counting(data)
        report = predict(run, counting, output, views=(VIEW, FLIP), parts=4, shard=Shard.parse(text))
        images.append(report.images)
        assert counting.loaded == (0 if text == "auto" else 2 * report.images)
        assert (report.whole, output.exists()) == (text == "2/3", text == "2/3")
    assert sum(images) - images[2] == len(data)
    assert report.detections == len(table)
    assert same(read_table(output), table)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert predict(run, data, output, views=(VIEW, FLIP), parts=4, shard=Shard(0, 3)).complete
    with pytest.raises(InputError, match="option shard: is of the parts of a table"):
        predict(run, data, tmp_path / "y.parquet", shard=Shard(0, 3))


@pytest.mark.parametrize("parts", [None, 3])
def test_a_table_that_was_complete_when_the_process_died_is_done(run, data, table, tmp_path, monkeypatch, parts):
    output, views = tmp_path / "x", (VIEW, FLIP)

    rename = Path.rename

    def die(path, *where, **options):
        if path.name.endswith(".unfinished"):
            if where:
                rename(path, *where)
            raise SystemError("killed")

    with monkeypatch.context() as patch:  # between the rename and the removal of what is not needed any more
        patch.setattr("zoo.predict.shutil.rmtree", die)
        patch.setattr(Path, "rename", die)
        with pytest.raises(SystemError):
            predict(run, data, output, views=views, parts=parts)
    assert output.exists()
    counting = Counting(data)
    report = predict(run, counting, output, views=views, parts=parts)
    assert (report.complete, report.detections, counting.loaded) == (True, len(table), 0)
    assert same(read_table(output), table)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert all(path.name.startswith("part-") for path in output.glob("*"))
    if parts is None:
        assert not predict(run, data, output, views=(VIEW,)).complete  # another run: the file is replaced
        return
    with pytest.raises(InputError, match="exists already"):
        predict(run, data, output, views=views, parts=4)
    (output / "part-00001.parquet").unlink()
    with pytest.raises(InputError, match="exists already"):
        predict(run, data, output, views=views, parts=parts)


def test_workers_make_no_difference(run, data, table, tmp_path):
    predict(run, data, tmp_path / "x.parquet", views=(VIEW, FLIP), workers=1)
    assert same(read_table(tmp_path / "x.parquet"), table)


def test_parts_of_another_run_are_not_taken_up(run, data, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.predict._CHUNK", 4)
    path = tmp_path / "x.parquet"
    with pytest.raises(OSError, match="power"):
        predict(run, Counting(data, fail_at=6), path, views=(VIEW,))
    (work,) = tmp_path.glob("x.parquet.*.unfinished")
    finished = (work / "part-00000.parquet").read_bytes()
    assert predict(run, data, tmp_path / "x.parquet", views=(FLIP,)).resumed == 0
    assert (work / "part-00000.parquet").read_bytes() == finished
    assert predict(run, data, path, views=(VIEW,)).resumed == 1


@pytest.fixture
def boxes(data, tmp_path):
    """Boxes of two images, of double precision, in no order of scores, one of them twice."""
    table = DetectionTable.from_arrays(
        image_id=[data.image_ids[5], data.image_ids[1], data.image_ids[1], data.image_ids[1]],
        category_id=[2, 4, 1, 1],
        score=np.array([0.1, 0.3, 0.7 + 1e-12, 0.7 + 1e-12]),
        xywh=np.array([[3.3, 4.4, 20.1, 20.2], [1, 2, 30, 30], [10.7, 10, 25, 12], [10.7, 10, 25, 12]]),
        member=["a", "b", "a", "b"],
        metadata=Metadata(member="fused"),
    )
    write_table(table, tmp_path / "boxes.parquet")
    return tmp_path / "boxes.parquet"


def test_given_boxes_come_back_to_the_last_bit_with_masks(run, data, boxes, tmp_path):
    predict(run, data, tmp_path / "masks.parquet", views=(VIEW,), boxes=boxes)
    before, after = read_table(boxes), read_table(tmp_path / "masks.parquet")
    assert after.arrow.drop_columns(["mask"]).equals(before.arrow.drop_columns(["member"]))
    assert after.metadata.member == "fused+masker"  # masks of two segmenters of these boxes have a vote each
    assert after.metadata.made_by["boxes"]["sha256"] == hash_of(boxes)
    masks = after.mask.to_pylist()
    assert masks[1] == masks[2]
    sizes = dict(zip(data.image_ids, data.sizes.tolist(), strict=True))
    for image, mask, (x, y, w, h) in zip(after.image_id, masks, after.xywh, strict=True):
        pixels = unpack({"size": [mask["height"], mask["width"]], "counts": mask["counts"]})
        assert list(pixels.shape) == sizes[image]
        outside = pixels.copy()
        outside[int(y) : int(np.ceil(y + h)) + 1, int(x) : int(np.ceil(x + w)) + 1] = 0
        assert not outside.any()


def test_given_boxes_in_several_views_and_rescored(run, data, boxes, tmp_path):
    predict(run, data, tmp_path / "masks.parquet", views=(VIEW, FLIP), boxes=boxes, scores="mask")
    before, after = read_table(boxes), read_table(tmp_path / "masks.parquet")
    assert len(after) == 2 * len(before)
    assert after.arrow["view"].to_pylist() == 3 * ["64"] + 3 * ["64-flip"] + ["64", "64-flip"]
    assert np.all(after.score <= np.concatenate([np.tile(before.score[:3], 2), np.tile(before.score[3:], 2)]) + 1e-6)
    assert np.array_equal(after.xywh[:3], after.xywh[3:6])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"category_id": [9]}, "category 9, which the model does not know"),
        ({"image_id": [4000]}, "boxes on 1 images that the data set does not have, such as 4000"),
        ({"metadata": Metadata(unit="normalized")}, "normalized, expected pixels"),
    ],
)
def test_boxes_that_do_not_fit_are_refused(run, data, tmp_path, changes, message):
    one = {"image_id": [1], "category_id": [1], "score": [0.5], "xywh": [[0.0, 0.0, 1.0, 1.0]]}
    write_table(DetectionTable.from_arrays(**one | changes), tmp_path / "boxes.parquet")
    with pytest.raises(InputError, match=message):
        predict(run, data, tmp_path / "x.parquet", boxes=tmp_path / "boxes.parquet")


def test_a_detector_without_masks(data, tmp_path):
    train(config(), open_data("scenes:4,64,0,categories=4"), tmp_path / "boxer")
    predict(tmp_path / "boxer", data, tmp_path / "x.parquet", batch=4)
    assert read_table(tmp_path / "x.parquet").mask is None
    with pytest.raises(InputError, match="no mask head"):
        predict(tmp_path / "boxer", data, tmp_path / "y.parquet", boxes=tmp_path / "x.parquet")
    with pytest.raises(InputError, match="no mask-rescoring head"):
        predict(tmp_path / "boxer", data, tmp_path / "y.parquet", scores="mask")
    with pytest.raises(InputError, match="has 3 categories with other ids than the 4"):
        predict(tmp_path / "boxer", open_data("scenes:2,64,0,categories=3"), tmp_path / "y.parquet")
    with pytest.raises(InputError, match=r"nothing.*config\.json"):
        predict(tmp_path / "nothing", data, tmp_path / "y.parquet")


def test_a_model_of_synchronised_norms_predicts_without_a_graphics_card(data, tmp_path):
    model = config()
    synced = replace(model, backbone=replace(model.backbone, norm="syncbn"))
    plain = replace(model, backbone=replace(model.backbone, norm="bn"))
    train(plain, open_data("scenes:4,64,0,categories=4"), tmp_path / "run")
    predict(tmp_path / "run", data, tmp_path / "plain.parquet")
    identity = read_json(tmp_path / "run" / "config.json", Identity)
    changed = msgspec.structs.replace(identity, model=synced.to_dict())
    write_json(changed, tmp_path / "run" / "config.json")
    predict(tmp_path / "run", data, tmp_path / "synced.parquet")
    assert same(read_table(tmp_path / "plain.parquet"), read_table(tmp_path / "synced.parquet"))


def test_views_that_a_user_names():
    infer = Model(infer=Infer(short=(600, 800), long=1333, flip=True))
    assert views_of(infer) == tuple(View(s, 1333, f) for s in (600, 800) for f in (False, True))
    assert views_of(infer, "400, 800,1000,1200x1600") == (
        View(400, 1333),
        View(800, 1333),
        View(1000, 1666),
        View(1200, 1600),
    )
    assert [view.name for view in views_of(infer, "400", True)] == ["400", "400-flip"]
    for wrong in ("", "a", "0", "800x", "800x700", "800,800"):
        with pytest.raises(InputError, match="--views"):
            views_of(infer, wrong)


def test_mirrored_boxes():
    boxes = np.array([[1.0, 2.0, 4.0, 8.0]])
    assert mirrored(boxes, 10).tolist() == [[6.0, 2.0, 9.0, 8.0]]
    assert np.array_equal(mirrored(mirrored(boxes, 10), 10), boxes)

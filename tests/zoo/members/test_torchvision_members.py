"""torchvision's models as members: what the table has is what torchvision returns."""

# ruff: noqa: E402

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("timm", reason="timm is not installed")
pytest.importorskip("torchvision", reason="torchvision is not installed")

from torchvision.models import get_model, get_model_weights
from torchvision.transforms.functional import to_tensor

from fusion.errors import InputError
from fusion.storage import part_of, read_table
from tests.zoo.members.cases import SCENES, pictures, rows, table
from zoo.data import View, open_data
from zoo.data.masks import unpack
from zoo.members import foreign, framework_names, is_foreign
from zoo.members.base import Wanted
from zoo.members.joined import Joining
from zoo.predict import predict

BOXES, MASKS = "fasterrcnn_mobilenet_v3_large_320_fpn", "maskrcnn_resnet50_fpn_v2"
SMALL = {"min_size": 64, "max_size": 96, "box_score_thresh": 0.05, "box_detections_per_img": 9}
NAMES = {1: "red disc", 2: "striped green square", 3: "checked violet star"}


def made(name, classes, file, **settings):
    torch.manual_seed(1)
    net = get_model(name, weights=None, weights_backbone=None, num_classes=classes, **settings).eval()
    torch.save(net.state_dict(), file)
    return net


@pytest.fixture(scope="module")
def boxer(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "boxer.pth"
    return made(BOXES, 4, file, **SMALL), file


def answers(net, picture):
    with torch.inference_mode():
        return net([to_tensor(picture)])[0]


def agree(found, data, index, one, view="own"):
    boxes, scores, labels, masks = rows(found, data, index, view)
    assert len(scores) == len(one["scores"]) > 2
    np.testing.assert_allclose(boxes, one["boxes"].numpy(), atol=1e-3)
    np.testing.assert_allclose(scores, one["scores"].numpy(), atol=1e-6)
    assert labels.tolist() == one["labels"].tolist()
    if masks is not None:
        for mask, soft in zip(masks, one["masks"], strict=True):
            assert np.array_equal(unpack(mask), soft[0].numpy() >= 0.5)


def test_boxes_are_what_torchvision_finds(boxer, tmp_path):
    net, file = boxer
    data, pixels = pictures()
    found = table(f"torchvision:{BOXES}", tmp_path / "t.parquet", weights=file, label_map=NAMES, **SMALL)
    for index, picture in enumerate(pixels):
        agree(found, data, index, answers(net, picture))
    assert found.metadata.member == "theirs"
    assert found.metadata.made_by["model"] == f"torchvision:{BOXES}"
    assert found.metadata.categories == data.truth.categories_fingerprint


@pytest.mark.parametrize(
    "kind", ["maskrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large"]
)
def test_models_of_every_kind(kind, tmp_path):
    settings = {"score_thresh": 0.0, "detections_per_img": 20, "min_size": 64, "max_size": 64}
    if kind.startswith("mask"):
        settings = SMALL
    if kind.startswith("ssd"):
        settings = {"score_thresh": 0.0, "detections_per_img": 5}
    net = made(kind, 4, tmp_path / "net.pth", **settings)
    data, pixels = pictures()
    found = table(
        f"torchvision:{kind}", tmp_path / "t.parquet", weights=tmp_path / "net.pth", label_map=NAMES, **settings
    )
    assert (found.mask is not None) == kind.startswith("mask")
    one = answers(net, pixels[1])
    real = one["labels"] > 0  # without training RetinaNet finds the background too
    agree(found, data, 1, {name: values[real] for name, values in one.items()})


def test_views_set_the_size_and_come_back_unmirrored(boxer, tmp_path):
    net, file = boxer
    data, pixels = pictures()
    views = (View(96, 128), View(None, None, True))
    found = table(f"torchvision:{BOXES}", tmp_path / "t.parquet", weights=file, label_map=NAMES, views=views, **SMALL)
    net.transform.min_size, net.transform.max_size = (96,), 128
    try:
        agree(found, data, 0, answers(net, pixels[0]), view="96")
    finally:
        net.transform.min_size, net.transform.max_size = (64,), 96
    mirrored = answers(net, np.ascontiguousarray(pixels[0][:, ::-1]))
    width = pixels[0].shape[1]
    mirrored["boxes"] = torch.stack(
        [
            width - mirrored["boxes"][:, 2],
            mirrored["boxes"][:, 1],
            width - mirrored["boxes"][:, 0],
            mirrored["boxes"][:, 3],
        ],
        dim=1,
    )
    agree(found, data, 0, mirrored, view="own-flip")


def test_parts_and_interrupted_runs_are_as_for_our_own(boxer, tmp_path, monkeypatch):
    _, file = boxer
    data = open_data(SCENES)
    whole = table(f"torchvision:{BOXES}", tmp_path / "t.parquet", weights=file, label_map=NAMES, **SMALL)

    class Failing:
        def __getattr__(self, name):
            return getattr(data, name)

        def __len__(self):
            return len(data)

        def load(self, index):
            if index == 2:
                raise OSError("the power is gone")
            return data.load(index)

    wanted, joining = Wanted(weights=file, settings=SMALL), Joining(label_map=NAMES)
    model = foreign(f"torchvision:{BOXES}", wanted, joining, data, "theirs")
    monkeypatch.setattr("zoo.predict._CHUNK", 1)
    with pytest.raises(OSError, match="power"):
        predict(model, Failing(), tmp_path / "again.parquet")
    assert predict(model, data, tmp_path / "again.parquet").resumed == 2
    assert read_table(tmp_path / "again.parquet").arrow.equals(whole.arrow)
    assert predict(model, data, tmp_path / "again.parquet").complete
    other = foreign(
        f"torchvision:{BOXES}",
        Wanted(weights=file, settings=SMALL | {"box_score_thresh": 0.2}),
        joining,
        data,
        "theirs",
    )
    assert not predict(other, data, tmp_path / "again.parquet").complete
    predict(model, data, tmp_path / "parts", parts=2)
    assert read_table(tmp_path / "parts").arrow.equals(whole.arrow)
    assert {int(part_of(read_table(p).image_ids, 2)[0]) for p in (tmp_path / "parts").glob("*.parquet")} <= {0, 1}


def test_weights_beside_others_and_of_parallel_models_are_found(boxer, tmp_path):
    net, _ = boxer
    data, pixels = pictures()
    wrapped = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"model": wrapped, "epoch": 3}, tmp_path / "training.pth")
    found = table(
        f"torchvision:{BOXES}", tmp_path / "t.parquet", weights=tmp_path / "training.pth", label_map=NAMES, **SMALL
    )
    agree(found, data, 0, answers(net, pixels[0]))


class Loud:
    def __reduce__(self):
        return print, ("code of the file was run",)


def test_no_code_of_a_file_is_run(tmp_path, capsys):
    torch.save({"model": Loud()}, tmp_path / "loud.pth")
    with pytest.raises(InputError, match="code would have to be run"):
        table(f"torchvision:{BOXES}", tmp_path / "t.parquet", weights=tmp_path / "loud.pth")
    assert "was run" not in capsys.readouterr().out


def test_coco_names_are_joined_by_name(tmp_path):
    settings = SMALL | {"box_score_thresh": 0.0}
    made(BOXES, 91, tmp_path / "coco.pth", **settings)
    names = get_model_weights(BOXES).DEFAULT.meta["categories"]
    data = open_data(SCENES)

    class Named:
        category_names = ("zebra", "person", "traffic_light")

        def __getattr__(self, name):
            return getattr(data, name)

        def __len__(self):
            return len(data)

    with pytest.raises(InputError, match="77 of its 80 categories are not in"):
        table(f"torchvision:{BOXES}", tmp_path / "t.parquet", weights=tmp_path / "coco.pth", data=Named(), **settings)
    found = table(
        f"torchvision:{BOXES}",
        tmp_path / "t.parquet",
        weights=tmp_path / "coco.pth",
        data=Named(),
        drop=True,
        **settings | {"box_detections_per_img": 2000},
    )
    assert set(found.category_id.tolist()) == {1, 2, 3}
    assert any("77 categories" in note for note in found.metadata.made_by["notes"])
    net = get_model(
        BOXES, weights=None, weights_backbone=None, num_classes=91, **settings | {"box_detections_per_img": 2000}
    )
    net.load_state_dict(torch.load(tmp_path / "coco.pth"))
    one = answers(net.eval(), pictures()[1][0])
    kept = {names.index("zebra"): 1, names.index("person"): 2, names.index("traffic light"): 3}
    expected = [kept[label] for label in one["labels"].tolist() if label in kept]
    assert rows(found, data, 0)[2].tolist() == expected


def test_first_weights_are_known_by_their_hash(tmp_path, monkeypatch):
    name = "fasterrcnn_resnet50_fpn"
    made(name, 91, tmp_path / "net.pth", **SMALL)
    monkeypatch.setattr("zoo.members.torchvision.hash_of", lambda path: "258fb6c6" + "0" * 56)
    data = open_data(SCENES)
    load = foreign(
        f"torchvision:{name}",
        Wanted(weights=tmp_path / "net.pth"),
        Joining(label_map=dict.fromkeys(range(91), 1)),
        data,
        "theirs",
    )
    model = load(torch.device("cpu"))
    assert {m.eps for m in model._model._net.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.0}


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("torchvision:frcnn", {}, "expected one of fasterrcnn_mobilenet"),
        (f"torchvision:{BOXES}", {}, "needs weights: nothing is downloaded"),
        (f"torchvision:{MASKS}", {"weights": "boxer"}, "has no weights of the last layers|not those of"),
        (
            f"torchvision:{BOXES}",
            {"weights": "boxer", "box_core_thresh": 1},
            "no argument .box_core_thresh.. Did you mean box_score_thresh",
        ),
        (
            f"torchvision:{BOXES}",
            {"weights": "boxer", "label_map": {7: "x"}},
            "3 of its 3 categories are not in the label",
        ),
        ("torchvision:", {}, "names no model"),
    ],
)
def test_errors(name, given, said, boxer, tmp_path):
    if "weights" in given:
        given = given | {"weights": boxer[1]}
    with pytest.raises(InputError, match=said):
        table(name, tmp_path / "t.parquet", **given)


def test_numbers_without_names_are_refused_unless_they_are_the_ids(boxer, tmp_path):
    data = open_data(SCENES)
    found = table(f"torchvision:{BOXES}", tmp_path / "t.parquet", weights=boxer[1], **SMALL)
    assert set(found.category_id.tolist()) <= {1, 2, 3}
    made(BOXES, 3, tmp_path / "two.pth")
    with pytest.raises(InputError, match=r"has no names for its 2 categories, 1 to 2, .*label_map 1=red disc"):
        table(f"torchvision:{BOXES}", tmp_path / "u.parquet", weights=tmp_path / "two.pth", data=data)


def test_frameworks_are_the_files_of_the_folder():
    assert {"torchvision", "python"} <= set(framework_names())
    assert is_foreign("torchvision:x")
    assert not is_foreign("runs/base")
    assert not is_foreign("c:/runs/base")


def test_a_missing_package_is_one_error(monkeypatch):
    monkeypatch.setattr("zoo.members.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'needs torchvision.*pip install "quorum-detection\[zoo\]"'):
        foreign("torchvision:x", Wanted(), Joining(), open_data(SCENES), "x")

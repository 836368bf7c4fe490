import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("timm", reason="timm is not installed")
from safetensors.torch import load_file  # noqa: E402

from fusion.errors import InputError  # noqa: E402
from tests.fusion.test_appending import files_of_at_most  # noqa: E402
from zoo.checkpoint import latest, load_weights, read_state  # noqa: E402
from zoo.config import Cascade, DoubleHead, EqualizedSigmoid, MaskHead, Model, ParameterGroup, Stream, replace  # noqa: E402
from zoo.data import JoinedData, open_data  # noqa: E402
from zoo.models import build  # noqa: E402
from zoo.runs import Run, read_json  # noqa: E402
from zoo.scale import tiny  # noqa: E402
from zoo.synthetic.rendered import scenes  # noqa: E402
from zoo.train import train  # noqa: E402
from zoo.training_log import TrainingLog  # noqa: E402

ROOT = Path(__file__).parents[2]
SCENES = "scenes:7,64,0,categories=4"


@pytest.fixture(scope="module")
def data():
    return open_data(SCENES)


def small(**changes):
    """A tiny mask detector; epochs of 7 images in steps of 4, so that the second step crosses an epoch."""
    model = tiny(Model(mask=MaskHead()))
    settings = {
        "segments": (),
        "steps": 4,
        "batch": 4,
        "accumulate": 2,
        "warmup_steps": 3,
        "ema": 0.9,
        "checkpoint_steps": 2,
    }
    return replace(
        model,
        data=replace(model.data, short=(64, 72), long=96),
        train=replace(model.train, **settings | changes),
        infer=replace(model.infer, short=(64,), long=96),
    )


class Failing:
    """A data set that does something at its n-th image."""

    def __init__(self, data, at, act):
        self._data, self._left, self._act = data, at, act

    def __getattr__(self, name):
        if name.startswith("_"):  # asked for by pickle, before there is anything
            raise AttributeError(name)
        return getattr(self._data, name)

    def __len__(self):
        return len(self._data)

    def load(self, index):
        self._left -= 1
        image, target = self._data.load(index)
        return self._act(image, target) if self._left == 0 else (image, target)


def crash(image, target):
    raise OSError("the power is gone")


def press_ctrl_c(image, target):
    os.kill(os.getpid(), signal.SIGINT)
    return image, target


def log_of(folder):
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def weights(folder):
    found = {}
    for file in ("model", "ema"):
        found |= {f"{file}.{n}": t for n, t in load_file(latest(folder) / f"{file}.safetensors").items()}
    return found


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A training that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(small(), data, folder, variant="tiny-mask")
    return folder


def test_a_training_leaves_weights_log_record_and_card(whole):
    run = read_json(whole / "run.json", Run)
    assert (run.step, run.steps, run.images, run.finished) == (4, 4, 7, True)
    assert run.epochs == pytest.approx(16 / 7)
    assert run.parameters == sum(p.numel() for p in build(small(), 4).parameters())
    assert all(math.isfinite(value) for value in run.losses.values())
    assert {"loss", "mask", "gradient_norm"} <= set(run.losses)
    rows = log_of(whole)
    assert [row["step"] for row in rows] == ["4"]
    assert float(rows[0]["learning_rate"]) == 0.02
    assert "tiny-mask" in (whole / "card.md").read_text()
    assert sorted(path.name for path in whole.glob("checkpoint-*")) == ["checkpoint-00000004"]


def test_a_crash_loses_no_more_than_to_the_last_checkpoint_and_resuming_gives_the_same_bits(data, whole, tmp_path):
    with pytest.raises(OSError, match="power"):
        train(small(), Failing(data, 14, crash), tmp_path)  # in the fourth step, which loads images 13 to 16
    assert latest(tmp_path).name == "checkpoint-00000002"
    train(small(), data, tmp_path, resume=True)
    assert_same_bits(weights(tmp_path), weights(whole))


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "learning_rate": 1e-3, "cosine": 0.01, "norm_decay": 0.0, "ema": 0.9998},
        {
            "groups": (ParameterGroup(match="backbone", rate=0.5, weight_decay=0.0),),
            "freeze": ("rpn.conv",),
            "ema": None,
        },
    ],
)
def test_every_optimizer_resumes_to_the_same_bits(data, tmp_path, changes):
    config = small(**changes)
    if changes.get("groups"):
        config = replace(config, neck=replace(config.neck, out="deform"))
    train(config, data, tmp_path / "whole")
    with pytest.raises(OSError, match="power"):
        train(config, Failing(data, 14, crash), tmp_path / "cut")
    train(config, data, tmp_path / "cut", resume=True)
    one, other = everything(tmp_path / "whole"), everything(tmp_path / "cut")
    assert len(one) > 100
    assert_same_bits(one, other)


def everything(folder):
    """The weights and what the optimizer knows of them."""
    *weights, state = read_state(latest(folder))
    found = {f"{number}.{name}": tensor for number, part in enumerate(weights) for name, tensor in (part or {}).items()}
    for number, values in state["optimizer"]["state"].items():
        found |= {f"optimizer.{number}.{name}": value for name, value in values.items() if torch.is_tensor(value)}
    return found


def test_groups_of_an_earlier_version_are_not_taken_up(data, tmp_path):
    config = small(steps=1)
    config = replace(config, neck=replace(config.neck, out="deform"))
    train(config, data, tmp_path)
    state = latest(tmp_path) / "state.pt"
    known = torch.load(state, weights_only=True)
    known["optimizer"]["param_groups"].pop()
    torch.save(known, state)
    with pytest.raises(InputError, match=r"other groups of parameters .*train\.init_from"):
        train(replace(config, train=replace(config.train, steps=2)), data, tmp_path, resume=True)


def test_ctrl_c_writes_a_checkpoint_first(data, whole, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(small(checkpoint_steps=100), Failing(data, 9, press_ctrl_c), tmp_path)
    assert latest(tmp_path).name == "checkpoint-00000003"
    assert read_json(tmp_path / "run.json", Run).step == 3
    assert signal.getsignal(signal.SIGINT) is before
    train(small(checkpoint_steps=100), data, tmp_path, resume=True)
    assert_same_bits(weights(tmp_path), weights(whole))
    assert [row["step"] for row in log_of(tmp_path)] == ["3", "4"]


def test_streams_mosaics_and_counts_of_a_hybrid_task_cascade_resume_to_the_same_bits(tmp_path):
    both = open_data("scenes:7,64,0,categories=4,name=many", "scenes:5,64,1,categories=4,name=few")
    config = small()
    few = Stream(images=2, source="few", sampler="class_aware")
    streams = replace(config.data, streams=(Stream(images=2, source="many"), few), mosaic=0.5)
    config = replace(
        config,
        data=streams,
        classifier=EqualizedSigmoid(rare=0.5, verified=True),
        neck=replace(config.neck, passes=2, share=True),
        head=DoubleHead(class_agnostic=True, channels=32, width=16, convs=1, weight=1.0),
        cascade=Cascade(iou=(0.5, 0.6), std=((0.1, 0.1, 0.2, 0.2),) * 2, loss_weight=(1, 0.5), score_weight=(1, 1)),
        mask=replace(config.mask, stages="each", flow=True),
    )
    run = train(config, both, tmp_path / "whole")
    assert run.epochs == pytest.approx(1 + 1 / 7)  # of the first stream, which has 2 images in each of 4 steps
    with pytest.raises(OSError, match="power"):
        train(config, Failing(both, 28, crash), tmp_path / "cut")
    train(config, both, tmp_path / "cut", resume=True)
    assert_same_bits(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    with pytest.raises(InputError, match="no data set is named"):
        train(config, open_data(SCENES), tmp_path / "other")


def test_workers_make_no_difference(data, whole, tmp_path):
    train(small(), data, tmp_path, workers=1)
    assert_same_bits(weights(tmp_path), weights(whole))


def test_resuming_where_nothing_is_begins(data, tmp_path):
    run = train(small(steps=1), data, tmp_path / "new", resume=True)
    assert run.step == 1
    run = train(small(steps=2), data, tmp_path / "new", resume=True)  # a longer schedule may be asked for
    assert run.step == 2


def test_a_folder_is_not_used_for_another_training(data, whole):
    before = weights(whole)
    with pytest.raises(InputError, match="holds a training"):
        train(small(), data, whole)
    with pytest.raises(InputError, match=r"train\.momentum: is 0\.5, the training in .* began with 0\.9"):
        train(small(momentum=0.5), data, whole, resume=True)
    with pytest.raises(InputError, match="other categories"):
        train(small(), open_data("scenes:7,64,0,categories=3"), whole, resume=True)
    assert_same_bits(weights(whole), before)


def test_a_loss_that_is_no_number_stops_and_names_the_images(data, tmp_path):
    def spoil(image, target):
        target.loss_weight = math.nan
        return image, target

    broken = Failing(data, 6, spoil)
    with pytest.raises(InputError, match=r"step 2: the loss is no finite number any more \(.*nan.*train\.clip"):
        train(small(), broken, tmp_path)
    report = json.loads((tmp_path / "stopped-rank0.json").read_text())
    assert report["step"] == 2
    assert len(report["image_ids"]) == 2
    assert report["config"]["train"]["steps"] == 4
    assert latest(tmp_path) is None


def test_memory_that_runs_out_says_what_to_change(data, tmp_path, monkeypatch):
    def exhausted(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("zoo.nn.network.Network.forward", exhausted)
    with pytest.raises(InputError, match=r"memory ran out with 2 images of up to .* pixels\. Set train\.accumulate=4"):
        train(small(), data, tmp_path)


def test_pre_training_on_other_categories(data, tmp_path):
    train(small(steps=1), open_data("scenes:7,64,0,categories=6"), tmp_path / "first")
    run = train(small(steps=1, init_from=str(tmp_path / "first")), data, tmp_path / "second")
    (note,) = run.notes
    assert "gave all weights but" in note
    start = load_weights(tmp_path / "first")
    same = [name for name, tensor in build(small(), 4).state_dict().items() if tensor.shape == start[name].shape]
    assert 0 < len(start) - len(same) < 12
    run = train(small(steps=1, init_from=str(tmp_path / "first"), init_anew=("rpn.conv",)), data, tmp_path / "third")
    assert "rpn.conv.weight" in run.notes[0]
    assert "rpn.conv.weight" not in note


def test_epochs_are_kept_for_averaging(data, tmp_path):
    train(small(steps=4, keep_epochs=(1, 2)), data, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("epoch-*")) == ["epoch-001.safetensors", "epoch-002.safetensors"]
    last, kept = load_file(latest(tmp_path) / "model.safetensors"), load_weights(tmp_path / "epoch-002.safetensors")
    assert_same_bits(kept, last)  # epoch 2 ends with the last step's second image


@pytest.mark.parametrize("precision", ["bf16"])
def test_lower_precision_trains(data, tmp_path, precision):
    run = train(small(precision=precision), data, tmp_path)
    assert all(math.isfinite(value) for value in run.losses.values())


class Alike:
    """The images of a data set that have the size of the first; padding, which depends on what is beside, is none."""

    def __init__(self, data):
        self._data = data
        self._kept = [index for index, size in enumerate(data.sizes.tolist()) if size == data.sizes[0].tolist()]
        self.sizes = data.sizes[self._kept]

    def __getattr__(self, name):
        return getattr(self._data, name)

    def __len__(self):
        return len(self._kept)

    def load(self, index):
        return self._data.load(self._kept[index])


def train_alike(folder):
    """Six steps at the full rate on 4 images of one size, so that every batch is padded alike."""
    config = small(accumulate=1, ema=None, steps=6, warmup_steps=0)
    config = replace(config, data=replace(config.data, short=(64,)))
    train(config, Alike(open_data("scenes:12,64,0,categories=4")), folder)


SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from test_train import train_alike
train_alike(Path(sys.argv[1]))
"""


def launch(script, folder, processes):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(script), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_two_processes_train_as_one_does(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    done = launch(script, tmp_path / "two", 2)
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "two" / "run.json", Run).processes == 2
    train_alike(tmp_path / "one")
    one, two = load_weights(tmp_path / "one"), load_weights(tmp_path / "two")
    for name, tensor in one.items():
        torch.testing.assert_close(
            two[name], tensor, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_the_log_of_a_finished_training_survives_a_resume(data, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    before = (tmp_path / "run" / "log.csv").read_bytes()
    train(small(), data, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "log.csv").read_bytes() == before


def row_of(step, **more):
    values = {"loss": step / 10} | more
    return step, values, {"epoch": 0, "learning_rate": 0.1}


def test_a_log_is_appended_to_or_replaced_whole(tmp_path, capsys):
    with TrainingLog(tmp_path, 0, 100) as log:
        for step in range(1, 61):
            log.add(*row_of(step, **({"edge": 1.0} if step > 40 else {})))
    assert [row["step"] for row in log_of(tmp_path)] == ["20", "40", "60"]
    assert [row["edge"] for row in log_of(tmp_path)] == ["", "", "1"]
    path = tmp_path / "log.csv"
    whole = path.read_bytes()
    path.write_bytes(whole + b"80,0,0.1")  # torn
    with TrainingLog(tmp_path, 60, 100) as log:
        assert path.read_bytes() == whole
        for step in range(61, 81):
            log.add(*row_of(step))
    assert "rows that were not whole were dropped: 1" in capsys.readouterr().err
    assert [row["step"] for row in log_of(tmp_path)] == ["20", "40", "60", "80"]
    assert path.read_bytes().startswith(whole)
    TrainingLog(tmp_path, 40, 100)  # what an interrupted run did after its checkpoint is done again
    assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:3])


def test_a_full_disk_leaves_the_rows_of_the_log(tmp_path):
    log = TrainingLog(tmp_path, 0, 100)
    for step in range(1, 21):
        log.add(*row_of(step))
    before = (tmp_path / "log.csv").read_bytes()
    for step in range(21, 40):
        log.add(*row_of(step))
    with files_of_at_most(len(before) + 5), pytest.raises(InputError, match=r"log\.csv: could not be written"):
        log.add(*row_of(40))
    assert (tmp_path / "log.csv").read_bytes() == before


def coco_scenes(folder, change=lambda truth: None):
    """The scenes as files, and their annotations changed."""
    folder = folder / "set"
    scenes(folder, images=7, size=64, categories=4)
    truth = json.loads((folder / "instances.json").read_text())
    change(truth)
    (folder / "instances.json").write_text(json.dumps(truth))
    return f"coco:{folder / 'instances.json'},{folder / 'images'}"


def test_objects_without_segmentation_train_boxes(tmp_path):
    def drop(truth):
        for number, annotation in enumerate(truth["annotations"]):
            if number % 3:
                annotation.pop("segmentation")

    data = open_data(coco_scenes(tmp_path, drop))
    assert "they have no mask" in " ".join(data.notes)
    run = train(small(), data, tmp_path / "run")
    assert run.finished
    assert math.isfinite(run.losses["mask"])


def test_masks_are_not_trained_without_any_segmentation(tmp_path):
    data = open_data(coco_scenes(tmp_path, lambda truth: [a.pop("segmentation") for a in truth["annotations"]]))
    with pytest.raises(InputError, match=r"instances: has no segmentation of any object, and .* learns masks"):
        train(small(), data, tmp_path / "run")
    with pytest.raises(InputError, match="data instances: has no segmentation of any object"):
        train(small(), JoinedData([open_data(SCENES), data]), tmp_path / "run")
    assert not (tmp_path / "run").exists()

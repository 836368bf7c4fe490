"""Classifiers retrained with the rest frozen, which keeps its bits; each stream moves its own classifier."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from zoo.checkpoint import load_weights
from zoo.config import Cascade, DoubleClassifier, FCHead, GroupSoftmax, Model, Softmax, Stream, Timm, replace
from zoo.data import open_data
from zoo.scale import tiny
from zoo.train import train

TWO = Cascade(iou=(0.5, 0.6), std=((0.1, 0.1, 0.2, 0.2),) * 2, loss_weight=(1.0, 1.0), score_weight=(1.0, 1.0))


def first_stage():
    model = tiny(Model(head=FCHead(class_agnostic=True), cascade=TWO, backbone=Timm(norm="bn")))
    settings = replace(model.train, segments=(), steps=1, batch=2)
    return replace(model, data=replace(model.data, short=(64,), long=96), train=settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A detector of two stages, and a data set of which one part is the training's and one is rare."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    data = open_data("scenes:4,64,0,categories=5,name=many", "scenes:3,64,1,categories=5,name=few")
    train(first_stage(), data, folder)
    return folder, data


def retrained(run, folder, rate=1.0):
    """Two classifiers in each stage, taught by a stream each; `rate` is a factor on what the second learns."""
    first, data = run
    model = first_stage()
    streams = (
        Stream(images=1, source="many", sampler="repeat", repeat_threshold=0.5),
        Stream(images=1, source="few", sampler="class_aware", per_category=5),
    )
    frozen = ("backbone", "neck", "rpn", r"boxes\.stages\.\d+\.(branches|predictor)")
    settings = replace(model.train, init_from=str(first), freeze=frozen, weight_decay=0.0, warmup_steps=0)
    config = replace(
        model,
        classifier=DoubleClassifier(first=GroupSoftmax(bounds=(3,)), second=Softmax()),
        data=replace(model.data, streams=streams),
        train=settings,
    )
    for part in data.parts:
        part._weight = rate if part.name == "few" else 1.0
    train(config, data, folder)
    return load_weights(folder)


def test_only_classifiers_change_and_each_stream_moves_its_own(run, tmp_path):
    before, both = load_weights(run[0]), retrained(run, tmp_path / "both")
    frozen = {name for name in both if ".classifier." not in name and name != "passes"}
    assert frozen == {name for name in before if ".classifier." not in name and name != "passes"}
    assert any(name.endswith("running_mean") for name in frozen)
    assert all(torch.equal(before[name], both[name]) for name in frozen)
    one = retrained(run, tmp_path / "one", rate=0.0)  # what the second stream shows weighs nothing
    for stage in range(2):
        first, second = (f"boxes.stages.{stage}.classifier.{name}.linear.weight" for name in ("first", "second"))
        assert torch.equal(one[first], both[first])
        assert not torch.equal(one[second], both[second])

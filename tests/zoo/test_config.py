"""Configs: reading, writing, changing, comparing, refusing."""

import dataclasses
import json
import subprocess
import sys

import pytest

from fusion.errors import InputError
from zoo.config import (
    RPN,
    Cascade,
    ConvHead,
    DeformConv,
    FCHead,
    MaskHead,
    Model,
    RoIPool,
    ShuffleNet,
    Stream,
    Timm,
    Train,
    diff,
    from_dict,
    replace,
    with_field,
)
from zoo.registry import find, variant, variants
from zoo.scale import scratch, tiny

RICH = Model(backbone=ShuffleNet(deform=DeformConv()), head=ConvHead(), mask=MaskHead(residual=True))


@pytest.mark.parametrize("model", [Model(), RICH, tiny(RICH), scratch(Model())])
def test_round_trip(model):
    assert Model.from_dict(json.loads(json.dumps(model.to_dict()))) == model
    assert diff(model, Model.from_dict(model.to_dict())) == {}


def test_fields_left_out_keep_their_defaults():
    assert from_dict(Model, {"mask": {"convs": 8}}) == Model(mask=MaskHead(convs=8))
    assert from_dict(Model, {}) == Model()


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"heda": {}}, "config.heda"),
        ({"head": {"kind": "FCHead", "tail": "gap"}}, "config.head.tail"),
        ({"head": {"kind": "Head"}}, "config.head"),
        ({"head": {"channels": 4}}, "config.head"),
        ({"mask": {"pool": {"size": "large"}}}, "config.mask.pool.size"),
        ({"neck": {"out": "dcn"}}, "config.neck.out"),
        ({"rpn": 3}, "config.rpn"),
    ],
)
def test_what_does_not_fit_is_named(values, where):
    with pytest.raises(InputError) as found:
        from_dict(Model, values)
    assert found.value.where == where


def test_unknown_fields_fail_at_construction():
    with pytest.raises(TypeError):
        Model(hed=FCHead())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Model().rpn = None


def test_a_class_that_is_the_only_one_may_change_its_name():
    old = RICH.to_dict()
    old["pool"]["kind"], old["data"]["kind"] = "Pool", "Data"  # as trainings of 0.1.0 before its release wrote them
    assert Model.from_dict(old) == RICH
    with pytest.raises(InputError, match=r"config\.head: expected a kind of FCHead, ConvHead"):
        Model.from_dict(RICH.to_dict() | {"head": {"channels": 8}})


def test_setting_a_field_from_the_command_line():
    model = with_field(RICH, "mask.convs", "8")
    assert model.mask.convs == 8
    assert with_field(model, "backbone", '{"kind": "Timm", "name": "resnet101"}').backbone == Timm(name="resnet101")
    assert with_field(Model(), "backbone.name", "resnet101").backbone.name == "resnet101"
    assert with_field(model, "mask", "null").mask is None
    assert with_field(Model(), "data.short", "[600, 800]").data.short == (600, 800)
    assert with_field(Model(), "train.ema", "0.99").train.ema == 0.99
    streams = with_field(Model(), "data.streams", '[{"images": 8, "source": "a"}, {"images": 8}]').data.streams
    assert streams == (Stream(images=8, source="a"), Stream(images=8))
    for path, value in (("mask.convs", "many"), ("data.streams", "8"), ("data.streams.0.image", '[{"image": 8}]')):
        with pytest.raises(InputError, match=path.rpartition(".")[2]):
            with_field(RICH, path.removesuffix(".0.image"), value)
    for path, value in (("mask.convs", "many"), ("mask.conv", "8"), ("mask.convs.x", "8"), ("train.batch", "1.5")):
        with pytest.raises(InputError, match=path.rpartition(".")[2]):
            with_field(RICH, path, value)


def test_differences_are_named_by_path():
    other = replace(RICH, mask=replace(RICH.mask, convs=8), head=FCHead())
    assert diff(RICH, other) == {"mask.convs": (4, 8), "head": (ConvHead(), FCHead())}
    assert diff(RICH, replace(RICH, mask=None)) == {"mask": (RICH.mask, None)}


@pytest.mark.parametrize(
    ("model", "where"),
    [
        (Model(cascade=Cascade(iou=(0.5, 0.6))), "cascade.std"),
        (
            Model(cascade=Cascade(iou=(0.5, 0.6), std=((1,) * 4,) * 2, loss_weight=(1, 1), score_weight=(1, 1))),
            "head.class_agnostic",
        ),
        (Model(backbone=Timm(norm="syncbn")), "backbone.norm"),
        (Model(rpn=RPN(convs=0)), "rpn.convs"),
        (Model(head=FCHead(layers=0)), "head.layers"),
        (Model(pool=RoIPool(deform="offset", aligned=False)), "pool.aligned"),
        (Model(train=Train(milestones=(10,))), "train.milestones"),
        (Model(train=Train(poly=0.9)), "train.poly"),
        (Model(train=Train(segments=())), "train"),
        (Model(train=Train(steps=100)), "train"),
        (Model(train=Train(segments=(), steps=9, milestones=(5, 3))), "train.milestones"),
        (Model(train=Train(accumulate=3)), "train.accumulate"),
        (with_field(Model(), "data.short_range", True), "data.short"),
        (with_field(Model(), "data.crop", {}), "data.crop"),
        (with_field(Model(), "data.streams", '[{"images": 8}, {"images": 4}]'), "data.streams"),
    ],
)
def test_contradictions(model, where):
    with pytest.raises(InputError) as found:
        model.validate("cpu")
    assert found.value.where == where


def test_fits():
    Model(backbone=Timm(norm="syncbn")).validate("cuda")
    Model(train=Train(segments=(), steps=8000, milestones=(5500, 7500))).validate()
    Model(train=Train(segments=(), steps=8000, poly=0.9)).validate()


def test_training_from_scratch():
    model = scratch(Model())
    assert (model.backbone.norm, model.backbone.frozen_stages, model.backbone.pretrained) == ("gn", 0, False)
    assert model.neck.norm == "gn"
    assert model.train.clip == 35
    assert sum(model.train.segments) == 270_000


def test_finding_variants():
    assert find("md19_r50_dcn").parent == "md19_r50_fpn"
    assert next(iter(variants())) == "md18_r50_base"
    with pytest.raises(InputError, match="md19_r50_dcn"):
        find("md19_r50_dnc")
    with pytest.raises(InputError, match="registered already"):
        variant()(find("md19_r50_dcn").full)


def test_a_file_among_the_variants_is_all_that_a_new_one_needs(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from zoo.config import Model\nfrom zoo.registry import variant\n\n\n"
        "@variant(note='Ours.')\ndef my_own() -> Model:\n    return Model()\n"
    )
    code = (
        "import sys, zoo.variants; zoo.variants.__path__.append(sys.argv[1])\n"
        "from zoo.registry import find; print(find('my_own').note, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "Ours. False\n"


def test_schedules_of_the_report():
    pretrain = find("md19_shuffle_pretrain").make().train
    assert (sum(pretrain.segments), pretrain.batch) == (55_000, 128)
    assert pretrain.learning_rate * pretrain.batch / pretrain.reference_batch == pytest.approx(0.16)
    tuned = find("md19_shuffle_o365").make().train
    assert tuned.learning_rate * tuned.batch / tuned.reference_batch == pytest.approx(0.024)
    assert (tuned.milestones, tuned.steps, tuned.gamma) == ((5500, 7500), 8000, 0.2)
    alibaba = find("ab_repr").make().train
    assert alibaba.learning_rate * alibaba.batch / alibaba.reference_batch == pytest.approx(3e-2)
    assert (alibaba.milestones, alibaba.epochs, alibaba.gamma) == ((20, 24, 26, 27), 28, 0.1)  # ends at 3e-6
    small, large = find("lt_r50_htc").make().train, find("lt_s101_tricks").make().train
    assert (small.milestones, small.epochs, small.weight_decay) == ((16, 22), 24, 1e-4)
    assert (large.milestones, large.epochs, large.weight_decay) == ((11, 14), 15, 5e-5)


def test_variants_are_known_without_torch():
    code = "import sys; sys.modules['torch'] = None; from zoo.registry import variants; print(len(variants()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(variants())


def test_the_small_form_counts_steps_whatever_the_variant_counts():
    epochs = Train(segments=(), milestones=(16, 22), epochs=24, unit="epoch")
    assert tiny(Model(train=epochs)).train == tiny(Model()).train

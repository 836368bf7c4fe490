"""Groups of parameters, optimizers, and what cards say of them."""

import re

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("timm", reason="timm is not installed")

from fusion.errors import InputError  # noqa: E402
from tests.zoo.nn.test_variants import networks  # noqa: E402
from zoo.cards import variant_card  # noqa: E402
from zoo.config import Model, ParameterGroup, RoIPool, Timm, Train, replace, with_field  # noqa: E402
from zoo.data import open_data  # noqa: E402
from zoo.models import build  # noqa: E402
from zoo.optimizer import freeze_notes, groups_of, optimizer_of, rate_notes, trained_alike  # noqa: E402
from zoo.registry import find, variants  # noqa: E402
from zoo.scale import tiny  # noqa: E402
from zoo.train import train  # noqa: E402
from zoo.training import Training  # noqa: E402

PLAIN = tiny(Model())


def model_of(config):
    with torch.device("meta"):
        return build(config, 4, device="meta")


def by_name(model, settings):
    return {name: group for group in groups_of(model, settings) for name in group.names}


@pytest.mark.parametrize("name", networks())
def test_every_parameter_is_in_one_group_and_only_offsets_learn_slower(name):
    config = find(name).make("tiny")
    model = model_of(config)
    groups = groups_of(model, config.train)
    names = [name for group in groups for name in group.names]
    assert sorted(names) == sorted(dict(model.named_parameters()))
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert {name for group in groups if group.what == "frozen" for name in group.names} == frozen
    for group in groups:
        if group.what == "frozen":
            continue
        pool = config.train.pool_offset_rate
        for name in group.names:
            if re.search(r"pool\.(offset|factor)\.", name):
                assert group.rate == pool, name
            else:
                assert group.rate == (0.1 if ".offset." in name else 1.0), name
        assert group.weight_decay == config.train.weight_decay


def test_the_first_group_that_matches_decides_and_offsets_take_their_share_of_it():
    config = replace(PLAIN, neck=replace(PLAIN.neck, out="deform"), pool=RoIPool(deform="modulated", hidden=16))
    groups = (ParameterGroup(match="neck.outputs", rate=0.5, weight_decay=0.0), ParameterGroup(match="neck", rate=2.0))
    settings = replace(config.train, groups=groups, norm_decay=0.3)
    found = by_name(model_of(config), settings)
    values = {name: (group.rate, group.weight_decay) for name, group in found.items()}
    assert values["neck.outputs.0.conv.weight"] == (0.5, 0.0)
    assert values["neck.outputs.0.conv.bias"] == (0.5, 0.3)
    assert values["neck.outputs.0.offset.weight"] == (0.05, 0.0)
    assert values["neck.laterals.0.weight"] == (2.0, 1e-4)
    assert values["rpn.conv.weight"] == (1.0, 1e-4)
    for part in ("offset", "factor"):
        assert values[f"boxes.stages.0.pool.{part}.0.weight"] == (0.01, 1e-4)


def test_biases_and_norms_may_have_a_weight_decay_of_their_own():
    model = model_of(PLAIN)
    plain, spared = optimizer_of(model, replace(PLAIN.train, norm_decay=0.0)).param_groups
    assert (plain["weight_decay"], spared["weight_decay"]) == (1e-4, 0.0)
    names = {id(p): name for name, p in model.named_parameters()}
    assert all(p.ndim == 1 for p in spared["params"])
    assert all(names[id(p)].endswith("weight") for p in plain["params"])
    assert {group["weight_decay"] for group in optimizer_of(model, PLAIN.train).param_groups} == {1e-4}


def test_what_is_frozen_is_named_and_not_given_to_the_optimizer():
    config = replace(PLAIN, train=replace(PLAIN.train, freeze=("backbone", "rpn.conv")))
    model = model_of(config)
    *_, last = groups_of(model, config.train)
    assert (last.what, last.rate) == ("frozen", 0.0)
    assert {name.split(".")[0] for name in last.names} == {"backbone", "rpn"}
    given = sum(len(group["params"]) for group in optimizer_of(model, config.train).param_groups)
    assert given == len(list(model.parameters())) - len(last.names)


@pytest.mark.parametrize(
    ("match", "message"), [("beckbone", "'beckbone' matches no parameter"), ("(", r"groups\.0\.match.*no regular")]
)
def test_groups_that_match_nothing_are_refused(match, message):
    with pytest.raises(InputError, match=message):
        groups_of(model_of(PLAIN), replace(PLAIN.train, groups=(ParameterGroup(match=match),)))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"groups": (ParameterGroup(match="a"), ParameterGroup(match="b", rate=0.0))}, "train.groups.1.rate"),
        ({"offset_rate": 0.0}, "train.offset_rate"),
        ({"cosine": 0.1}, "train.cosine"),
        ({"cosine": 1.5, "segments": (), "steps": 5}, "train.cosine"),
        ({"ema": 1.0}, "train.ema"),
        ({"betas": (0.9, 1.0)}, "train.betas"),
    ],
)
def test_contradictions(changes, where):
    with pytest.raises(InputError) as found:
        Model(train=replace(Train(), **changes)).validate("cpu")
    assert found.value.where == where


def test_a_rate_for_sgd_is_said_to_be_none_for_adamw():
    assert rate_notes(Train()) == rate_notes(Train(optimizer="adamw", learning_rate=1e-3)) == []
    (note,) = rate_notes(Train(optimizer="adamw", learning_rate=1e-3, batch=128))
    assert "AdamW at a rate of 0.008" in note


def test_what_is_frozen_without_a_training_before_is_said():
    retrained = find("ab_bgs").make("tiny")
    (note,) = freeze_notes(model_of(retrained), retrained.train)
    assert "neck." in note
    assert "train.init_from" in note
    assert freeze_notes(model_of(retrained), replace(retrained.train, init_from="runs/first")) == []
    backbone = replace(PLAIN, train=replace(PLAIN.train, freeze=("backbone",)))
    assert freeze_notes(model_of(backbone), backbone.train) == []


def test_the_tiny_form_keeps_how_the_rate_falls_and_the_optimizer():
    for falls in ({"cosine": 0.0}, {"poly": 0.9}):
        train = tiny(Model(train=Train(segments=(), steps=9, optimizer="adamw", learning_rate=2e-4, **falls))).train
        assert (train.steps, train.segments, train.learning_rate) == (800, (), 2e-4)
        tiny(Model(train=train)).validate("cpu")
    assert PLAIN.train.segments == (600, 200)
    assert PLAIN.train.learning_rate == 0.02


def test_groups_come_from_the_command_line():
    text = '[{"match": "backbone", "rate": 0.1, "weight_decay": 0.05}]'
    groups = with_field(Model(), "train.groups", text).train.groups
    assert groups == (ParameterGroup(match="backbone", rate=0.1, weight_decay=0.05),)


class Scaled(torch.nn.Module):
    """Two numbers with gradients that are given."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Parameter(torch.tensor([1.0]))
        self.second = torch.nn.Parameter(torch.tensor([1.0]))


def test_adamw_is_adam_with_its_decay_apart():
    model = Scaled()
    settings = replace(
        Train(),
        optimizer="adamw",
        learning_rate=0.1,
        weight_decay=0.5,
        groups=(ParameterGroup(match="second", rate=0.1),),
    )
    optimizer = optimizer_of(model, settings)
    for gradient in (3.0, 3.0):
        for parameter in model.parameters():
            parameter.grad = torch.tensor([gradient])
        optimizer.step()
    for parameter, rate in ((model.first, 0.1), (model.second, 0.01)):
        expected = 1.0
        for _ in range(2):  # an equal gradient at every step moves a weight by the rate
            expected = expected * (1 - rate * 0.5) - rate
        assert parameter.item() == pytest.approx(expected, rel=1e-6)


def test_a_step_moves_groups_by_their_rate(tmp_path):
    data = open_data("scenes:3,64,0,categories=3")
    settings = {"segments": (), "steps": 1, "batch": 2, "warmup_steps": 0, "momentum": 0.0, "clip": None}
    config = replace(
        PLAIN, data=replace(PLAIN.data, short=(64,)), train=replace(PLAIN.train, weight_decay=0.0, **settings)
    )
    moved = {}
    for name, groups in (("whole", ()), ("half", (ParameterGroup(match="rpn", rate=0.5),))):
        own = replace(config, train=replace(config.train, groups=groups))
        kept = []

        def before(training, kept=kept):
            kept.append({name: p.detach().clone() for name, p in training.model.named_parameters()})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Training, "save", lambda training, kept=kept, before=before: before(training, kept))
            begin = Training.begin.__func__

            def begun(cls, *arguments, begin=begin, before=before, **options):
                training = begin(cls, *arguments, **options)
                before(training)
                return training

            patch.setattr(Training, "begin", classmethod(begun))
            train(own, data, tmp_path / name)
        moved[name] = {key: kept[1][key] - kept[0][key] for key in kept[0]}
    for key, whole in moved["whole"].items():
        share = 0.5 if key.startswith("rpn") else 1.0
        torch.testing.assert_close(moved["half"][key], share * whole, rtol=1e-3, atol=2e-7)


def test_cards_show_the_groups(tmp_path):
    variant = find("md19_r50_fpndeform")
    config = variant.make()
    groups = trained_alike(model_of(config), config.train)
    card = variant_card(variant, groups=groups)
    trained = sum(group.parameters for group in groups if group.rate)
    assert f"{trained:,} trained parameters" in card
    (offsets,) = re.findall(r"\| offsets +\|.*", card)[:1]
    assert "0.1 x = 0.002" in offsets
    assert "0.01 x = 0.0002" in card
    assert re.search(r"\| frozen +\|.*not trained", card)
    settings = {"segments": (), "steps": 1, "batch": 2, "optimizer": "adamw", "learning_rate": 1e-3}
    small = replace(PLAIN, data=replace(PLAIN.data, short=(64,)), train=replace(PLAIN.train, **settings))
    run = train(small, open_data("scenes:3,64,0,categories=3"), tmp_path)
    assert sum(group.parameters for group in run.groups) == run.parameters
    assert "rate (AdamW)" in (tmp_path / "card.md").read_text()


@pytest.mark.parametrize("name", list(variants()))
def test_imagenet_weights_are_named(name):
    backbone = find(name).make().backbone
    if isinstance(backbone, Timm) and backbone.pretrained:
        assert re.fullmatch(
            r"resnet50\.tv_in1k|resnest\d+e\.in1k|senet154\.gluon_in1k|resnext101_64x4d\.gluon_in1k"
            r"|resnext50_32x4d\.tv_in1k|tf_efficientnet_b7\.aa_in1k|hrnet_w48\.ms_in1k",
            backbone.name,
        )


def test_the_named_weights_are_known_to_timm():
    import timm

    backbones = [variant.make().backbone for variant in variants().values()]
    for name in {one.name for one in backbones if isinstance(one, Timm) and one.pretrained}:
        assert name in timm.list_pretrained(name.partition(".")[0] + ".*"), name


def test_a_card_names_the_row_of_a_table_where_there_is_one():
    origin = [variant_card(find(name), []).splitlines()[2] for name in ("md19_r50_dcn", "mm_decoupled")]
    assert "megdetv2-coco2019, table 1, row 2. From `md19_r50_fpn`" in origin[0]
    assert "mmfruit-openimages2019. From `mm_x101_dh_dcn`" in origin[1]

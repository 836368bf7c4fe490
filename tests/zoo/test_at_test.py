"""Settings of test beside those of training."""

import io
import sys

import numpy as np
import pytest

import quorum

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("timm", reason="timm is not installed")

import msgspec  # noqa: E402

from fusion.errors import InputError  # noqa: E402
from fusion.storage import read_table  # noqa: E402
from zoo.at_test import limit_notes, set_at_test, size_notes, with_categories_of  # noqa: E402
from zoo.config import Model, TrainData, replace, with_field  # noqa: E402
from zoo.data import View, open_data  # noqa: E402
from zoo.predict import predict  # noqa: E402
from zoo.registry import find, variants  # noqa: E402
from zoo.runs import Identity, read_json, write_json  # noqa: E402
from zoo.scale import tiny  # noqa: E402
from zoo.train import train  # noqa: E402
from zoo.views import views_of  # noqa: E402

SCENES = "scenes:5,64,0,categories=4"


def small(**changes):
    model = tiny(Model())
    settings = {"segments": (), "steps": 1, "batch": 2, "warmup_steps": 0}
    return replace(model, data=replace(model.data, short=(72,), long=80), train=replace(model.train, **settings))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    train(small(), open_data(SCENES), folder)
    return folder


DETECTORS = [name for name in variants() if find(name).make("tiny").data.crop is None]


@pytest.mark.parametrize("name", DETECTORS)
def test_the_tiny_form_of_every_variant_is_tested_as_it_is_trained(name):
    config = find(name).make("tiny")
    assert {(view.short, view.long) for view in views_of(config)} == {(128, 160)}
    bigger = replace(config, data=replace(config.data, short=(240,), long=320))
    assert {(view.short, view.long) for view in views_of(bigger)} == {(240, 320)}


@pytest.mark.parametrize("name", DETECTORS)
def test_the_reports_sizes_at_test_are_as_before(name):
    (short, long) = ((600, 800, 1000, 1200, 1400), 1867) if "mstest" in name else ((800,), 1333)
    long = 1200 if name.startswith("ab_") else long  # alibaba-lvis2020, sec. 4.2: (1200, 800), ...
    sides = [(one, long) for one in short]
    if len(find(name).make().infer.short or ()) == 6:  # mmfruit-openimages2019, sec. 7.3; longest sides in proportion
        sides = [(600, 1333), (800, 1333), (1000, 1666), (1333, 2221), (1666, 2776), (2000, 3332)]
    assert list(dict.fromkeys((view.short, view.long) for view in views_of(find(name).make()))) == sides


@pytest.mark.parametrize(
    ("name", "size"), [("mm_hrnet_200_300", (250, 550)), ("mm_hrnet_256", (256, 600)), ("mm_hrnet_112", (112, 112))]
)
def test_what_is_cut_out_is_tested_at_the_reports_size(name, size):  # mmfruit-openimages2019, sec. 8.4
    (view,) = views_of(find(name).make())
    assert (view.short, view.long) == size


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"short": (240,), "long": 320}, (240, 320)),
        ({"short": (600, 800, 1000), "long": 1333}, (800, 1333)),
        ({"short": (400, 1400), "short_range": True, "long": 1400}, (900, 1400)),
    ],
)
def test_sizes_of_training_hold_where_none_are_set(data, expected):
    config = Model(data=TrainData(**data))
    (view,) = views_of(config)
    assert (view.short, view.long) == expected
    (set_by_hand,) = views_of(with_field(with_field(config, "infer.short", "[100]"), "infer.long", 120))
    assert (set_by_hand.short, set_by_hand.long) == (100, 120)
    (twice,) = views_of(config, str(2 * max(config.data.short)))
    assert twice.long == 2 * config.data.long


@pytest.mark.parametrize(
    ("short", "long", "said"),
    [
        (240, 320, None),
        (161, 320, None),  # a third less, as far as rounding allows
        (156, 320, "smaller"),
        (319, 430, None),  # a third more
        (330, 450, "larger"),
        (240, 160, "50 % smaller"),  # by the longest side
    ],
)
def test_another_size_than_in_training_is_said(short, long, said):
    config = Model(data=TrainData(short=(240,), long=320))
    lines = size_notes(config, [View(short, long), View(short, long, True)], np.array([[300, 400], [300, 400]]))
    assert len(lines) == (said is not None)
    if said is not None:
        assert said in lines[0]
        assert "views='240x320'" in lines[0]


def test_sizes_between_those_of_training_are_not_said():
    data = TrainData(short=(400, 1400), short_range=True, long=1400)
    views = [View(short, 1867) for short in (300, 600, 800, 1000, 1200)]
    assert size_notes(Model(data=data), views, np.array([[480, 640]])) == []
    lines = size_notes(Model(data=replace(data, short=(800,), short_range=False)), views, np.array([[480, 640]]))
    assert [line.partition(":")[0] for line in lines] == ["view 300", "view 1200"]
    wide = replace(data, short=(800,), short_range=False, jitter=(0.3, 2.0))
    assert size_notes(Model(data=wide), views, np.array([[480, 640]])) == []


def test_predictions_follow_the_training_and_say_where_they_do_not(run, tmp_path, capsys):
    data = open_data(SCENES)
    predict(run, data, tmp_path / "own.parquet")
    made_by = read_table(tmp_path / "own.parquet").metadata.made_by
    assert (made_by["views"], made_by["notes"]) == (["72 (long side up to 80)"], [])
    assert "smaller" not in capsys.readouterr().err
    predict(run, data, tmp_path / "less.parquet", settings={"infer.short": [36], "infer.long": 40})
    (note,) = read_table(tmp_path / "less.parquet").metadata.made_by["notes"]
    assert "50 % smaller than in training" in note
    assert "50 % smaller" in capsys.readouterr().err


def test_settings_of_test_may_be_changed_for_a_prediction(run, tmp_path):
    data = open_data(SCENES)
    predict(run, data, tmp_path / "two.parquet", settings={"infer.detections": 2, "infer.score": 0.0})
    table = read_table(tmp_path / "two.parquet")
    assert np.bincount(table.image_id).max() == 2
    with pytest.raises(InputError, match=r"train\.steps: belongs to a model that is trained already"):
        set_at_test(read_json(run / "config.json", Identity), {"train.steps": 3})
    with pytest.raises(InputError, match=r"infer\.scores"):
        set_at_test(read_json(run / "config.json", Identity), {"infer.scores": 3})


def test_more_objects_than_are_found_are_said(tmp_path, capsys):
    data = open_data(SCENES)
    most = int(np.bincount(data.truth.image).max())
    config = small()
    enough = replace(config, infer=replace(config.infer, detections=most))
    assert limit_notes(enough, data) == []
    few = replace(config, infer=replace(config.infer, detections=most - 1))
    (note,) = limit_notes(few, data)
    assert f"up to {most}" in note
    assert "raise infer.detections" in note
    proposals = replace(enough, rpn=replace(config.rpn, after_nms=(128, most - 1)))
    assert "rpn.after_nms" in limit_notes(proposals, data)[0]
    record = train(few, data, tmp_path / "run")
    assert note in record.notes
    assert note in (tmp_path / "run" / "card.md").read_text()
    predict(tmp_path / "run", data, tmp_path / "x.parquet")
    assert note in read_table(tmp_path / "x.parquet").metadata.made_by["notes"]


def renamed(identity, names):
    return msgspec.structs.replace(identity, category_names=tuple(names))


def test_categories_are_those_of_the_same_name(run, tmp_path, capsys):
    data, identity = open_data(SCENES), read_json(run / "config.json", Identity)
    assert with_categories_of(identity, data, run) == (identity, ())
    names = list(identity.category_names)
    loud = renamed(identity, [name.upper() for name in names])
    assert with_categories_of(loud, data, run) == (loud, ())
    turned, (note,) = with_categories_of(renamed(identity, names[::-1]), data, run)
    assert turned.category_ids == identity.category_ids[::-1]
    assert "by their names" in note
    with pytest.raises(InputError, match=r"category 2 is .*, it was 'lamp'"):
        with_categories_of(renamed(identity, [names[0], "lamp", *names[2:]]), data, run)
    with pytest.raises(InputError, match="has 3 categories with other ids than the 4"):
        with_categories_of(identity, open_data("scenes:2,64,0,categories=3"), run)
    predict(run, data, tmp_path / "a.parquet", settings={"infer.score": 0.0})
    write_json(renamed(identity, names[::-1]), run / "config.json")
    try:
        predict(run, data, tmp_path / "b.parquet", settings={"infer.score": 0.0})
        with pytest.raises(InputError, match="other categories"):
            train(small(), data, run, resume=True)
    finally:
        write_json(identity, run / "config.json")
    a, b = read_table(tmp_path / "a.parquet"), read_table(tmp_path / "b.parquet")
    back = dict(zip(identity.category_ids, identity.category_ids[::-1], strict=True))
    assert b.category_id.tolist() == [back[i] for i in a.category_id.tolist()]
    assert np.array_equal(a.score, b.score)


def test_which_weights_predict(tmp_path):
    config = small()
    train(replace(config, train=replace(config.train, steps=3, ema=0.9)), open_data(SCENES), tmp_path / "run")
    found = {}
    for which in (None, "ema", "last"):
        predict(tmp_path / "run", open_data(SCENES), tmp_path / "t.parquet", settings={"infer.score": 0}, weights=which)
        table = read_table(tmp_path / "t.parquet")
        found[which] = (table.metadata.made_by["checkpoint"], table.score.tolist())
    assert found[None] == found["ema"]
    assert all(one != other for one, other in zip(found["ema"], found["last"], strict=True))


def test_weights_that_a_training_does_not_have(run, tmp_path):
    with pytest.raises(InputError, match="weights='ema' asks for averaged weights, and it was trained without"):
        predict(run, open_data(SCENES), tmp_path / "t.parquet", weights="ema")
    problem = call("predict", run, "--data", SCENES, "-o", tmp_path / "t.parquet", "--weights", "first")
    assert "expected ema or last, got 'first'" in problem


def call(*words):
    with pytest.MonkeyPatch.context() as patch:
        said = io.StringIO()
        patch.setattr(sys, "stderr", said)
        with pytest.raises(SystemExit):
            quorum.main([str(word) for word in words])
    return " ".join(said.getvalue().split())

"""The whole way: better than the best member, or the best member alone with the reason."""

import json

import numpy as np
import pytest

import quorum
from evaluation import Coco, prepare
from evaluation.coco_ground_truth import read_coco
from fusion.errors import InputError
from fusion.recipe_file import read_recipe
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata
from search.auto import improve, why_not
from search.problem import pose
from search.splits import dealt
from tests.search.members import make_members, make_truth
from zoo.synthetic.simulated import simulate
from zoo.synthetic.skills import Scenario, demo_members

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_constants':DeprecationWarning")

TRUTH = make_truth(5, images=80, categories=3, objects=500)


def noise(truth, member="noise", each=10):
    rng = np.random.default_rng(6)
    images = len(truth.image_id)
    return DetectionTable.from_arrays(
        image_id=np.repeat(truth.image_id, each),
        category_id=rng.choice(truth.category_id, images * each),
        score=rng.random(images * each),
        xywh=np.hstack([rng.uniform(0, 100, (images * each, 2)), rng.uniform(5, 40, (images * each, 2))]),
        metadata=Metadata(member=member),
    )


def test_members_that_help_each_other():
    tables = make_members(5, 3, TRUTH)
    told = []
    found = improve(tables, TRUTH, seconds=20, progress=told.append)
    assert found.helps
    assert found.gain.low > 0
    assert set(found.brings) <= {table.metadata.member for table in tables}
    assert any(what.startswith("search, naive") for what in told)
    # the detections of every image, each by what was learned without its fold, are about what the verify split says
    whole = prepare(TRUTH).evaluate(found.fused).AP
    assert whole == pytest.approx(found.answer.rivals["verify"][0].replicates.observed["AP"], abs=0.06)
    assert len(found.recipe.fuse(tables)) == pytest.approx(len(found.fused), rel=0.02)


def test_beside_noise_the_other_stays_alone():
    [good] = make_members(5, 1, TRUTH)
    found = improve([noise(TRUTH), good], TRUTH, seconds=20)
    best = prepare(TRUTH).evaluate(good).AP
    assert best - 0.01 <= prepare(TRUTH).evaluate(found.fused).AP
    if not found.helps:
        assert "ahead of the next" in found.why_not
        assert found.fused.xywh.tobytes() == good.xywh.tobytes()


def test_one_member():
    [one] = make_members(5, 1, TRUTH)
    found = improve([one], TRUTH, seconds=20)
    if not found.helps:
        assert "fusion needs two" in found.why_not
    assert prepare(TRUTH).evaluate(found.fused).AP >= prepare(TRUTH).evaluate(one).AP - 0.01


def test_nothing_to_work_with():
    with pytest.raises(InputError, match="no member was given"):
        improve([], TRUTH)
    with pytest.raises(InputError, match="too few images"):
        improve(make_members(5, 2, TRUTH), TRUTH.subset(TRUTH.image_id[:2]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("auto")
    simulate(Scenario(images=80, categories=4), demo_members(4)[:2], 3).write(place)
    return place


def files_of(folder):
    return sorted(path for path in folder.glob("*.json") if path.name != "ground_truth.json")


def test_the_command(folder, tmp_path, run):
    files, out = files_of(folder), tmp_path / "out"
    truth = folder / "ground_truth.json"
    code, said, err = run("auto", *files, "-g", truth, "-o", out, "--minutes", 0.3, "--test-files", *files)
    assert code == 0, err
    assert {path.name for path in out.iterdir()} >= {
        "fused.parquet",
        "results.json",
        "best.toml",
        "report.html",
        "report.md",
    }
    assert "over the best member" in said or "Fusing does not help here" in said
    assert len(said.strip().splitlines()) <= 6
    written = json.loads((out / "results.json").read_text())
    fused = read_table(out / "fused.parquet")
    assert len(written) == len(fused)
    tables = []
    for path in files:
        place = tmp_path / f"{path.stem}.parquet"
        assert run("import", path, "-g", truth, "-o", place)[0] == 0
        tables.append(read_table(place))
    assert fused.metadata.made_by["recipe"] == read_recipe(out / "best.toml").to_toml()
    again = read_recipe(out / "best.toml").fuse(tables)
    assert fused.score.tobytes() == again.score.tobytes()
    assert prepare(read_coco(truth)).evaluate(fused).AP > 0


def test_tables_and_files_of_one_name(folder, tmp_path, run):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        table = make_members(5, 1, TRUTH)[0].with_metadata(member="box")
        write_table(table, tmp_path / name / "box.parquet")
    paths = [tmp_path / name / "box.parquet" for name in ("a", "b")]
    truth = folder / "ground_truth.json"
    code, _, err = run("auto", *paths, "-g", truth, "-o", tmp_path / "o", "--minutes", 0.1)
    assert code in (0, 2)
    assert "both bring a member" not in err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--minutes", 0), "--minutes: expected a number above 0"),
        (("--test-files", "x.json"), "got 1 for 2 detectors"),
    ],
)
def test_wrong_arguments(folder, tmp_path, run, more, said):
    code, _, err = run("auto", *files_of(folder), "-g", folder / "ground_truth.json", "-o", tmp_path / "o", *more)
    assert code == 2
    assert said in " ".join(err.split())


def test_from_python(folder, tmp_path):
    files, truth = files_of(folder), folder / "ground_truth.json"
    found = quorum.auto(files, truth, minutes=0.2, output=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"fused.parquet", "results.json", "best.toml"}
    assert read_table(tmp_path / "out" / "fused.parquet").arrow.equals(found.fused.arrow)
    tables = [quorum.load(path, truth) for path in files]
    tested = quorum.auto(tables, read_coco(truth), minutes=0.2, test_files=tables)
    assert tested.fused.score.tobytes() == tested.recipe.fuse(tables).score.tobytes()
    with pytest.raises(InputError, match="option minutes: expected a number above 0"):
        quorum.auto(files, truth, minutes=0)
    with pytest.raises(InputError, match="two are of the name 'a'"):
        quorum.auto([tables[0].with_metadata(member="a")] * 2, truth)


def test_errors_of_auto_say_whose_options_they_name(folder, tmp_path, run):
    truth, [first, *_] = folder / "ground_truth.json", files_of(folder)
    records = json.loads(first.read_text())
    for record in records:
        x, y, w, h = record["bbox"]
        record["bbox"] = [x, y, x + w, y + h]
    (tmp_path / "corners.json").write_text(json.dumps(records))
    code, _, err = run("auto", tmp_path / "corners.json", first, "-g", truth, "-o", tmp_path / "o")
    assert code == 2
    assert "--box-format xyxy" in err
    assert "These are options of `quorum import`: give its table instead" in err
    code, _, err = run("import", tmp_path / "corners.json", "-g", truth, "-o", tmp_path / "t.parquet")
    assert (code, "--box-format xyxy" in err, "These are options" in err) == (2, True, False)
    with pytest.raises(InputError, match=r"box_format='xyxy'.* These are options of read_results"):
        quorum.load(tmp_path / "corners.json", truth)
    (tmp_path / "torn.json").write_text("[{")
    assert "These are options" not in run("auto", tmp_path / "torn.json", "-g", truth, "-o", tmp_path / "o")[2]


def loosened(table, by):
    """The table's boxes grown on all sides by a share of their own."""
    x, y, w, h = (table.column(name) for name in "xywh")
    grown = np.stack([x - by * w, y - by * h, w * (1 + 2 * by), h * (1 + 2 * by)], axis=1)
    return DetectionTable.from_arrays(
        image_id=table.image_id, category_id=table.category_id, score=table.score, xywh=grown,
        metadata=Metadata(member="loose"),
    )  # fmt: skip


def test_why_fusing_does_not_help():
    [good] = make_members(5, 1, TRUTH)
    splits = dealt(TRUTH, ("search", "verify"))
    reasons = {
        "fusion needs two": [good],
        "the boxes of loose (AP50": [good, loosened(good, 0.09)],
        "ahead of the next": [good, noise(TRUTH)],
        "the members find the same objects": [good, good.with_metadata(member="twin")],
    }
    for words, tables in reasons.items():
        assert words in why_not(pose(tables, TRUTH, splits, Coco(), treatment="as they are"))

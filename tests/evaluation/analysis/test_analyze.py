"""The command `quorum analyze`: files, pictures, report, messages."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from evaluation import Lvis, prepare
from evaluation.analysis.pictures import new_figure, save_picture, shortened
from evaluation.analysis.table_analysis import analyze_table
from evaluation.cli.analyze import analyze
from fusion.errors import InputError
from fusion.storage import write_table
from tests.evaluation.analysis.samples import case, table_of
from tests.evaluation.test_lvis import federated_case, lvis_truth

# matplotlib imports pyparsing, old versions of which do this
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_constants':DeprecationWarning")

FRAMES = {
    "errors.csv",
    "errors_per_category.csv",
    "categories.csv",
    "best_threshold_per_category.csv",
    "calibration.csv",
    "calibration_per_category.csv",
    "confusion.csv",
    "sizes.csv",
    "curves.parquet",
}
PICTURES = {"errors", "curves", "sizes", "calibration", "categories", "confusion"}
ENSEMBLE = {"members.csv", "pairs.csv", "finders.csv", "best_member_per_category.csv", "contributions.csv"}


@pytest.fixture
def data(tmp_path):
    """A ground truth file and three tables."""
    dataset, results, _, _, _ = case(6, truths=60, results=200, categories=5)
    known = {category["id"] for category in dataset["categories"]}
    results = [row | {"score": abs(row["score"]) / 2} for row in results if row["category_id"] in known]
    (tmp_path / "gt.json").write_text(json.dumps(dataset))
    rng = np.random.default_rng(1)
    paths = []
    for name in ("one", "two/2", "two 2"):
        paths.append(tmp_path / f"{len(paths)}.parquet")
        write_table(table_of([row for row in results if rng.random() < 0.7], name), paths[-1])
    return tmp_path / "gt.json", paths


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_one_table(data, tmp_path, capsys):
    truth, paths = data
    out = tmp_path / "out"
    analyze(paths[0], ground_truth=truth, output=out)
    assert names(out) == FRAMES | {f"{name}.png" for name in PICTURES} | {"report.md"}
    for name in PICTURES:
        with Image.open(out / f"{name}.png") as picture:
            assert min(picture.size) > 150
            assert len(set(picture.convert("L").resize((80, 80)).tobytes())) > 10
    report = (out / "report.md").read_text(encoding="utf-8")
    for name in PICTURES:
        assert f"![{name}.png]({name}.png)" in report
    assert "The most expensive error is" in report
    assert "The best confidence threshold is" in report
    printed = capsys.readouterr().out
    assert "worst error" in printed
    errors = pd.read_csv(out / "errors.csv").set_index("error")
    assert errors.loc["Loc", "cost"] > 0


def test_several_tables(data, tmp_path, capsys):
    truth, paths = data
    out = tmp_path / "out"
    analyze(*paths, ground_truth=truth, output=out, picture_format="svg")
    common = {f"{name}.svg" for name in ("bounds", "contributions", "objects", "agreement")}
    folders = {"01-one", "02-two_2", "03-two_2"}
    assert names(out) == ENSEMBLE | common | folders | {"report.md"}
    for folder in folders:
        assert names(out / folder) == FRAMES | {f"{name}.svg" for name in PICTURES}
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "## The members together" in report
    for line in report.splitlines():
        if line.startswith("!["):
            assert (out / line[line.index("(") + 1 : -1]).is_file()
    assert "The best member is" in capsys.readouterr().out
    assert list(pd.read_csv(out / "contributions.csv")["member"])


def test_the_same_input_gives_the_same_files(data, tmp_path):
    truth, paths = data
    out, again = tmp_path / "out", tmp_path / "again"
    for folder in (out, again):
        analyze(paths[0], ground_truth=truth, output=folder, picture_format="svg")
    for path in sorted(out.iterdir()):
        assert path.read_bytes() == (again / path.name).read_bytes(), path


def test_a_recipe_and_chosen_images(data, tmp_path):
    truth, paths = data
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["one", "two 2"]\n')
    images = tmp_path / "images.txt"
    ids = [image["id"] for image in json.loads(truth.read_text())["images"]][:2]
    images.write_text("\n".join(map(str, ids)))
    out = tmp_path / "out"
    analyze(paths[0], paths[2], ground_truth=truth, output=out, recipe=recipe, images=images)
    assert "2 images of" in (out / "report.md").read_text()
    frame = pd.read_csv(out / "contributions.csv").set_index("member")
    assert frame["fused_without"].notna().all()


def test_lvis(tmp_path):
    dataset, results = federated_case(4)
    (tmp_path / "gt.json").write_text(json.dumps(dataset))
    write_table(table_of(results), tmp_path / "m.parquet")
    analyze(tmp_path / "m.parquet", ground_truth=tmp_path / "gt.json", output=tmp_path / "out", protocol="lvis")
    want = prepare(lvis_truth(dataset), Lvis()).evaluate(table_of(results))
    frame = pd.read_csv(tmp_path / "out" / "categories.csv")
    np.testing.assert_allclose(frame["AP"], want.average_precision_per_category)


def test_what_goes_wrong_leaves_nothing(data, tmp_path):
    truth, paths = data
    with pytest.raises(InputError, match="no table was given"):
        analyze(ground_truth=truth, output=tmp_path / "out")
    with pytest.raises(InputError, match="of another table"):
        analyze(paths[0], paths[0], ground_truth=truth, output=tmp_path / "out")
    with pytest.raises(InputError, match="exists already"):
        analyze(paths[0], ground_truth=truth, output=tmp_path)
    alien = tmp_path / "alien.parquet"
    write_table(table_of([{"image_id": 5, "category_id": 1, "score": 0.5, "bbox": [0, 0, 1, 1]}]), alien)
    with pytest.raises(InputError, match=r"alien\.parquet"):
        analyze(alien, ground_truth=truth, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("truths", "results", "sentence"),
    [(0, 50, "no objects to find"), (40, 0, "no detections: every object is missed"), (0, 0, "no objects to find")],
)
def test_empty_sides_have_pictures_too(tmp_path, truths, results, sentence):
    _, _, prepared, table, _ = case(3, truths=truths, results=results)
    analysis = analyze_table(table, prepared)
    (line,) = analysis.sentences()
    assert sentence in line
    for name in analysis.write(tmp_path, "empty"):
        assert (tmp_path / name).is_file()


def test_long_names_are_cut_in_the_middle():
    assert shortened(["short", "a very long name that ends in 5"], 12) == ["short", "a very… in 5"]


def test_pictures_are_not_written_over_a_folder(tmp_path):
    figure = new_figure(2, 2)
    figure.subplots()
    (tmp_path / "x.png").mkdir()
    with pytest.raises(InputError, match="expected a file"):
        save_picture(figure, tmp_path / "x.png")
    assert names(tmp_path) == {"x.png"}

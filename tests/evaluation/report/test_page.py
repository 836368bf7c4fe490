"""The page of `quorum report`: its numbers are the commands' own, and names cannot break it."""

import base64
import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from evaluation import Coco, prepare, read_coco
from evaluation.curves import mean_curve
from evaluation.pictures import show
from evaluation.report import Page, Section, Sortable, Words
from fusion import read_table
from fusion.printed_table import PrintedTable
from tests.evaluation.report.conftest import LONG, ODD
from tests.evaluation.report.pages import Elements, data_of, rows_of


@pytest.fixture
def measured(folder, tables, run):
    code, out, _ = run("evaluate", *tables, "-g", folder / "ground_truth.json", "--format", "json")
    assert code == 0
    return dict(zip((path.stem for path in tables), json.loads(out), strict=True))


def test_figures_are_those_of_evaluate_to_the_last_digit(page, measured):
    rows = rows_of(data_of(page), "table", "AP")
    assert len(rows) == 3
    for name, figures in measured.items():
        own = {key: value for key, value in rows[name].items() if key != "table"}
        assert len(own) == 12
        assert own == {key: figures[key] for key in own}


def test_categories_are_those_of_evaluate_to_the_last_digit(page, measured):
    blocks = [block for block in data_of(page).values() if block["kind"] == "table"]
    tables = [block for block in blocks if block["heads"][1:4] == ["name", "objects", "a"]]
    assert len(tables) == 7
    for place, name in enumerate(measured):
        own = {row[0]: row[3 + place] for row in tables[0]["rows"]}
        assert own == {row["category_id"]: row["AP"] for row in measured[name]["per_category"]}
        assert [row[2] for row in tables[0]["rows"]] == [row["truths"] for row in measured[name]["per_category"]]


def test_the_ranking_is_that_of_leaderboard_to_the_last_digit(page, folder, tables, run):
    words = ("-g", folder / "ground_truth.json", "--replicates", 50, "--format", "json")
    code, out, _ = run("leaderboard", *tables, *words)
    assert code == 0
    rows = {row["table"]: row for row in rows_of(data_of(page), "rank", "table").values()}
    for entry in json.loads(out)["entries"]:
        own, ap = rows[entry["name"]], entry["figures"]["AP"]
        assert own["rank"] == entry["rank"]
        assert [own[head] for head in ("AP", "AP low", "AP high")] == [ap[name] for name in ("value", "low", "high")]
        if entry["rank"] > 1:
            assert (own["to 1st"], own["p"]) == (entry["to_the_first"]["value"], entry["to_the_first"]["p"])


def test_curves_and_thresholds_are_those_of_the_result(page, folder, tables):
    prepared = prepare(read_coco(folder / "ground_truth.json"), Coco())
    data = data_of(page)
    charts = [b for b in data.values() if b["kind"] == "chart" and b["x"] == "recall"]
    assert len(charts) == 3
    [slider] = [b for b in data.values() if b["kind"] == "thresholds"]
    for place, path in enumerate(tables):
        result = prepared.evaluate(read_table(path))
        for chart, iou in zip(charts, (0.5, 0.75, None), strict=True):
            assert chart["series"][place]["y"] == mean_curve(result, iou).tolist()
        curve = slider["entries"][path.stem][""]
        right, wrong = curve["right"][curve["best"]], curve["wrong"][curve["best"]]
        assert curve["score"][curve["best"]] == result.threshold
        assert 2 * right / (right + wrong + curve["objects"]) == result.F1
        assert len(slider["entries"][path.stem]) > 10  # categories


@pytest.mark.filterwarnings("ignore:Glyph")  # the fonts of its pictures
def test_errors_are_those_of_analyze(page, folder, tables, run, tmp_path):
    assert run("analyze", tables[0], "-g", folder / "ground_truth.json", "-o", tmp_path / "report")[0] == 0
    lines = (tmp_path / "report" / "errors.csv").read_text().splitlines()[1:]
    rows = rows_of(data_of(page), "error", "meaning")
    assert {line.split(",")[0]: float(line.rsplit(",", 1)[1]) for line in lines} == {
        name: row["a"] for name, row in rows.items()
    }


def test_pictures_are_those_of_show_with_words(page, folder, tables):
    found = Elements(page.read_text(encoding="utf-8")).elements
    shown = [attributes for tag, attributes in found if tag == "img"]
    members = [read_table(path).with_metadata(member=path.stem) for path in tables]
    gallery = show(members, read_coco(folder / "ground_truth.json"))
    chosen = [*gallery.worst(10), *gallery.most_improved(10)]
    assert [one["alt"] for one in shown] == [one.alt for one in chosen]
    for one in shown:
        kind, _, content = one["src"].partition(",")
        assert kind == "data:image/jpeg;base64"
        assert len(base64.b64decode(content)) <= 250_000
        with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
            assert min(picture.size) > 200
    assert page.stat().st_size < 10_000_000


def test_label_errors_are_those_of_labels(page, folder, tables, run, tmp_path):
    words = ("-g", folder / "ground_truth.json", "-o", tmp_path / "suspects.csv")
    assert run("labels", *tables, *words)[0] == 0
    with (tmp_path / "suspects.csv").open(encoding="utf-8", newline="") as lines:
        listed = list(csv.DictReader(lines))
    own = next(b for b in data_of(page).values() if b["kind"] == "table" and "members say" in b["heads"])
    rows = [dict(zip(own["heads"], row, strict=True)) for row in own["rows"]]
    assert len(rows) == min(len(listed), 300) > 10
    for row, line in zip(rows, listed, strict=False):
        assert (row["kind"], str(row["image"]), row["members say"]) == (
            line["kind"],
            line["image_id"],
            line["category"],
        )
        assert row["score"] == pytest.approx(float(line["score"]), abs=1e-12)


def test_names_cannot_break_the_page(page):
    found = Elements(page.read_text(encoding="utf-8"))
    assert {tag for tag, _ in found.elements}.isdisjoint({"b", "i"})
    assert len(found.scripts) == 2  # the data and ours
    for name in (*ODD, LONG):
        assert any(name == text for text in found.text), name


def test_the_page_asks_for_no_other_file(page):
    for tag, attributes in Elements(page.read_text(encoding="utf-8")).elements:
        assert tag != "link" or attributes["href"] == "data:,"
        for name in ("src", "href", "action", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), attributes


def test_headings_are_linked_once(page):
    found = Elements(page.read_text(encoding="utf-8")).elements
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"][1:] for tag, attributes in found if tag == "a"]
    assert len(links) > 10
    assert set(links) <= set(ids)


def test_one_table_alone(folder, tables, run, tmp_path):
    output = tmp_path / "one.html"
    code, out, err = run("report", tables[0], "-g", folder / "ground_truth.json", "-o", output, "--replicates", 20)
    assert (code, out) == (0, "")
    assert "one.html: the report" in err
    rows = rows_of(data_of(output), "category_id", "name")
    assert len(rows) == 16
    assert "Agreement" not in output.read_text(encoding="utf-8")


def test_open_images_has_what_its_protocol_has(folder, tables, run, tmp_path):
    output = tmp_path / "open.html"
    words = ("-g", folder / "ground_truth.json", "--protocol", "openimages", "--replicates", 20)
    assert run("report", *tables, *words, "-o", output)[0] == 0
    code, out, _ = run("evaluate", *tables, *words[:4], "--format", "json")
    assert code == 0
    rows = rows_of(data_of(output), "table", "AP")
    assert [row["AP"] for row in rows.values()] == [one["AP"] for one in json.loads(out)]
    assert len(rows_of(data_of(output), "by", "size", "objects")) == 1  # rows are of one kind, by side
    assert len(rows_of(data_of(output), "error", "meaning")) == 8
    assert "Agreement" not in output.read_text(encoding="utf-8")
    code, _, err = run("report", *tables, *words, "-o", output, "--iou", 0.4)
    assert code == 2
    assert "--iou does not go with --protocol openimages" in err.replace(": does", " does")


def test_slices_have_a_section(folder, tables, run, tmp_path):
    dataset = json.loads((folder / "ground_truth.json").read_text())
    lines = [f"{image['id']},{'odd' if n % 2 else 'even'}" for n, image in enumerate(dataset["images"])]
    (tmp_path / "slices.csv").write_text("\n".join(["image,name", *lines]))
    words = ("-g", folder / "ground_truth.json", "--slices", tmp_path / "slices.csv", "--replicates", 20)
    assert run("report", tables[0], *words, "-o", tmp_path / "r.html")[0] == 0
    assert list(rows_of(data_of(tmp_path / "r.html"), "slice")) == ["all images", "even", "odd"]


def test_an_empty_page_and_values_that_are_none():
    table = PrintedTable.of(("name", "value"), [["x", float("nan")], ["y", np.float64(0.1) + 0.2], ["z", None]])
    text = Page("t", "s", [Section("A & B", [Sortable(table), Words(["</script>"])])]).to_html()
    data = json.loads(Elements(text).scripts["data"])
    assert data["b0"]["rows"] == [["x", None], ["y", 0.1 + 0.2], ["z", None]]
    assert "</script>" in Elements(text).text
    assert Elements(Page("t", "s", []).to_html()).scripts["data"] == "{}"


def test_no_table_is_an_error(folder, run, tmp_path):
    code, _, err = run("report", "-g", folder / "ground_truth.json", "-o", tmp_path / "r.html")
    assert code == 2
    assert "no table was given" in err
    assert not (tmp_path / "r.html").exists()

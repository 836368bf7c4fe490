"""`--html` of the other commands: what they have computed, on a page."""

import json

import pytest

from tests.evaluation.report.pages import Elements, data_of, rows_of


def headings(path):
    found = Elements(path.read_text(encoding="utf-8"))
    return [attributes["id"] for tag, attributes in found.elements if tag == "section"]


def test_leaderboard(folder, tables, run, tmp_path):
    words = (*tables, "-g", folder / "ground_truth.json", "--replicates", 20, "--format", "json")
    code, out, _ = run("leaderboard", *words, "--html", tmp_path / "board.html", "-o", tmp_path / "board")
    assert code == 0
    entries = json.loads(out)["entries"]
    rows = rows_of(data_of(tmp_path / "board.html"), "rank", "table")
    assert [(row["table"], row["AP"]) for row in rows.values()] == [
        (entry["name"], entry["figures"]["AP"]["value"]) for entry in entries
    ]
    assert "precision-and-recall" in headings(tmp_path / "board.html")
    # entries that are there already are not measured again, and have their line all the same
    assert run("leaderboard", *words, "--html", tmp_path / "again.html", "-o", tmp_path / "board")[0] == 0
    assert headings(tmp_path / "again.html") == ["ranking"]
    assert rows_of(data_of(tmp_path / "again.html"), "rank", "table") == rows


def test_compare(folder, tables, run, tmp_path):
    words = ("-g", folder / "ground_truth.json", "--replicates", 20, "--format", "json")
    code, out, _ = run("compare", *tables[:2], *words, "--html", tmp_path / "c.html")
    assert code == 0
    told = json.loads(out)
    rows = rows_of(data_of(tmp_path / "c.html"), "figure", "a", "b")
    for name, difference in told["figures"].items():
        assert [rows[name][key] for key in ("a", "b", "difference", "low", "high", "p")] == [
            difference[key] for key in ("a", "b", "value", "low", "high", "p")
        ]
    categories = rows_of(data_of(tmp_path / "c.html"), "category", "a", "b")
    assert [row["difference"] for row in categories.values()] == [row["value"] for row in told["per_category"]]
    assert told["sentence"] in Elements((tmp_path / "c.html").read_text(encoding="utf-8")).text


@pytest.mark.filterwarnings("ignore:Glyph")  # the fonts of its pictures
def test_analyze(folder, tables, run, tmp_path):
    words = ("-g", folder / "ground_truth.json", "-o", tmp_path / "analysis", "--html", tmp_path / "a.html")
    assert run("analyze", *tables[:2], *words)[0] == 0
    assert {"findings", "errors", "confusion", "agreement-and-complementarity"} <= {*headings(tmp_path / "a.html")}
    assert "ranking" not in headings(tmp_path / "a.html")  # it has no intervals


def test_the_page_is_no_input(folder, tables, run):
    before = tables[0].read_bytes()
    words = ("-g", folder / "ground_truth.json", "--html", tables[0])
    code, _, err = run("compare", *tables[:2], *words)
    assert code == 2
    assert "--html" in err
    assert tables[0].read_bytes() == before

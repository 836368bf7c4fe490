"""Cards as HTML pages."""

import json

import pytest

from zoo.card_page import card_page
from zoo.registry import variants
from zoo.runs import Figures, read_json
from zoo.synthetic.simulated import Scenario, Skill, simulate


@pytest.fixture
def store(tmp_path, run):
    truth, results = simulate(Scenario(images=20, categories=4), [Skill(name="a")], 1).write(tmp_path / "data")
    words = (
        "--name",
        "mine",
        "-g",
        truth,
        "--split",
        "val",
        "--about",
        "Not <b>ours</b>.",
        "--store",
        tmp_path / "store",
    )
    assert run("zoo", "register", results, *words)[0] == 0
    return tmp_path / "store"


def test_a_members_page_has_every_category(store, run, tmp_path):
    code, out, err = run("zoo", "show", "mine", "--store", store, "--html", tmp_path / "card.html")
    assert code == 0, err
    assert "# mine" in out
    text = (tmp_path / "card.html").read_text()
    assert "Not &lt;b&gt;ours&lt;/b&gt;." in text
    known = read_json(store / "mine" / "figures" / "val.bbox.json", Figures)
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    figures, categories = data["b0"], data["b2"]
    assert dict(zip(figures["heads"], figures["rows"][0], strict=True)) == {
        "split": "val", "by": "bbox", "protocol": "coco", "images": 20, "detections": known.detections, **known.stats,
    }  # fmt: skip
    assert categories["rows"] == [[row.category_id, row.name, row.AP] for row in known.categories]


def test_a_variants_page_has_the_cards_tables(run, tmp_path):
    name = next(name for name, variant in variants().items() if variant.reported)
    assert run("zoo", "show", name, "--html", tmp_path / "card.html")[0] == 0
    text = (tmp_path / "card.html").read_text()
    assert "not reproduced" in text
    assert all(f">{value:g}</td>" in text for value in variants()[name].reported.values())


def test_cells_with_bars_stay_whole():
    page = card_page("# x\n\nAbout.\n\n## Part\n\n| a | b |\n|---|---|\n| 1 \\| 2 | `c` |\n| 3 |  |\n\n- one\n- two\n")
    [section] = page.sections
    table, words = section.blocks
    assert (page.title, page.subject, section.title) == ("x", "About.", "Part")
    assert (table.table.heads, table.table.rows) == (["a", "b"], [["1 | 2", "c"], ["3", ""]])
    assert words.lines == ["one", "two"]

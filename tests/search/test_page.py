"""The HTML page of a search: its numbers are the answer's own."""

import pytest

from search.page import search_page
from tests.search.test_answer import found  # noqa: F401 - a fixture


@pytest.fixture
def blocks(found):  # noqa: F811
    _, study, answer = found
    return [(block.kind, block.data()) for block in search_page(answer, study).blocks]


def tables(blocks, head):
    return [data for kind, data in blocks if kind == "table" and data["heads"][0] == head]


def test_gains_are_the_answers(found, blocks):  # noqa: F811
    _, _, answer = found
    own = [data for data in tables(blocks, "candidate") if "answer's gain" in data["heads"]]
    assert len(own) == len(answer.rivals) == 2
    for data, split in zip(own, ("verify", "search"), strict=True):  # the one to quote first
        first, *others = data["rows"]
        ap = answer.rivals[split][0].replicates.intervals["AP"]
        assert first == ["answer", ap.value, ap.low, ap.high, None, None, None, None]
        for row in others:
            gain = answer.gain(row[0], split)
            assert row[4:] == [gain.value, gain.low, gain.high, gain.p]


def test_nodes_and_changes_are_the_answers(found, blocks):  # noqa: F811
    _, _, answer = found
    [nodes] = tables(blocks, "node")
    assert sorted(row[3] for row in nodes["rows"]) == sorted(node.ap for node in answer.nodes)
    [left_out] = tables(blocks, "member left out")
    assert {(row[0], row[1], row[2]) for row in left_out["rows"]} == {
        (change.what, change.ap, change.loss) for change in answer.without_member
    }


def test_history_has_every_trial_that_was_measured(found, blocks):  # noqa: F811
    _, study, _ = found
    [chart] = [data for kind, data in blocks if kind == "chart"]
    best, *phases = chart["series"]
    shown = {(x, y) for line in phases for x, y in zip(line["x"], line["y"], strict=True)}
    assert shown == {(trial.number, trial.outcome.value) for trial in study.measured}
    highest = 0.0
    for x, y in zip(best["x"], best["y"], strict=True):
        highest = max(highest, study.trials[x].outcome.value)
        assert y == highest
    assert best["y"][-1] == study.measured[0].outcome.value


def test_the_tree_is_a_picture_with_words(found):  # noqa: F811
    problem, study, answer = found
    page = search_page(answer, study)
    [picture] = [block for block in page.blocks if block.kind == "picture"]
    assert b"<svg" in picture.content
    assert problem.names[0] in picture.alternative
    assert 'src="data:image/svg+xml;base64,' in page.to_html()


@pytest.mark.parametrize("width", [400, 1400])
def test_it_is_seen_without_a_word_at_every_width(found, show, tmp_path, width):  # noqa: F811
    _, study, answer = found
    search_page(answer, study).write(tmp_path / "report.html")
    browser = show(tmp_path / "report.html", width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return document.querySelectorAll('#the-search path.curve').length") == 1
    shown = browser.execute_script("return document.querySelectorAll('#the-search .drawing > svg circle').length")
    assert shown == len(study.measured)
    assert browser.execute_script("return document.querySelector('#the-tree img').naturalWidth") > 100

"""What is shown of things at a prompt is one short line, and in a notebook that line with a table below."""

import html

import numpy as np
import pytest

from evaluation import Coco, OpenImages, evaluate, prepare
from evaluation.attached import attach
from evaluation.comparison import compare
from evaluation.leaderboard import Entry, Leaderboard, Split
from evaluation.statistics import bootstrap
from fusion import Recipe, Wbf
from fusion.recipe import Node
from fusion.steps.concat import Concat
from search.auto import improve
from tests.search.members import make_members, make_truth

TRUTH = make_truth(5, images=40, categories=3, objects=200)
TABLES = make_members(5, 2, TRUTH)
LONGEST = 240


def result(protocol=None):
    return evaluate(TABLES[0], TRUTH, protocol) if protocol else evaluate(TABLES[0], TRUTH)


def comparison():
    return compare(*(bootstrap(prepare(TRUTH).evaluate(table), replicates=50) for table in TABLES), name_b="better")


def recipe():
    nodes = {"a": Node(Wbf(weights={TABLES[0].metadata.member: 0.5}), ("*",)), "output": Node(Concat(), ("a", "other"))}
    return Recipe(nodes)


def leaderboard():
    split = Split(ground_truth="g", images=9, units=9, protocol="coco", iou_type="bbox", replicates=4, draws="d")
    return Leaderboard(split, (Entry("a", "", 1, 1, {"AP": 0.5}, np.array([0.4, 0.5, 0.6, 0.5])),))


MADE = {
    "table": lambda: TABLES[0],
    "empty table": lambda: TABLES[0].select_images(np.array([], TRUTH.image_id.dtype)),
    "ground truth": lambda: TRUTH,
    "result": result,
    "result of Open Images": lambda: result(OpenImages()),
    "comparison": comparison,
    "recipe": recipe,
    "leaderboard": leaderboard,
}


@pytest.mark.parametrize("name", MADE)
def test_things_are_shown_in_a_line_and_a_table(name):
    thing = MADE[name]()
    line = repr(thing)
    assert line.startswith(f"{type(thing).__name__}(")
    assert len(line) <= LONGEST
    assert "\n" not in line
    shown = thing._repr_html_()
    assert shown.startswith(f"<p>{html.escape(line)}</p>\n<table>")
    assert shown.count("<tr>") >= (1 if name == "empty table" else 2)
    assert len(shown) < 10_000


def test_what_goes_with_them_is_short_too():
    prepared = prepare(TRUTH, Coco())
    drawn = bootstrap(prepared.evaluate(TABLES[0]), replicates=50)
    for thing in (prepared, prepare(TRUTH, OpenImages()), drawn, attach(prepared, TABLES[0])):
        assert len(repr(thing)) <= LONGEST
        assert "array(" not in repr(thing)


def test_the_lines_say_what_there_is():
    assert repr(TABLES[0]) == f"DetectionTable({len(TABLES[0]):,} detections of 'member0' on 40 images)"
    assert repr(TABLES[0].with_metadata(member=None)) == f"DetectionTable({len(TABLES[0]):,} detections on 40 images)"
    found = result()
    figures = f"AP {found.AP:.4f}, AP50 {found.AP50:.4f}, AP75 {found.AP75:.4f}"
    assert repr(found) == f"CocoResult({figures}; coco bbox, 40 images, 3 categories)"
    assert repr(TRUTH) == f"GroundTruth(40 images, 3 categories, {len(TRUTH)} annotations; ground truth)"
    assert repr(recipe()) == "Recipe(2 nodes of other: wbf, concat)"
    assert repr(comparison()).startswith("Comparison(better over a: AP ")


def test_an_answer_is_shown():
    found = improve(TABLES, TRUTH, seconds=5)
    for thing in (found, found.answer):
        assert len(repr(thing)) <= LONGEST
        assert "over the best member" in thing._repr_html_()
    for thing in (found.study, found.answer.problem):
        assert len(repr(thing)) <= LONGEST


def test_a_table_becomes_a_data_frame():
    frame = TABLES[0].to_pandas()
    assert list(frame.columns) == TABLES[0].arrow.column_names
    assert len(frame) == len(TABLES[0])
    assert frame["score"].to_numpy().tobytes() == TABLES[0].score.tobytes()
    assert frame["image_id"].tolist() == TABLES[0].image_id.tolist()

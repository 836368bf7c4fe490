"""Errors speak the language of who reads them: `fusion.errors.option` names options, not as Python spells them."""

import ast
import re
from pathlib import Path

import pytest

import quorum
from fusion.errors import in_command_line, in_python, option

ROOT = Path(__file__).parents[1]
# box_format='xyxy', unknown_images="drop", fusion.read_table(...); the name of a parameter alone: max_dets, iou_type
PYTHON = re.compile(r"\b[a-z]\w*=(['\"]\w+['\"]|True|False|None)|\b(fusion|evaluation|search|zoo)\.[a-z]\w+")
FILES = [
    quorum.__file__,
    *sorted(p for name in ("fusion", "evaluation", "search", "zoo") for p in (ROOT / name).rglob("*.py")),
]


def words(path):
    """All texts of a file but docstrings and what stands by itself, with their lines."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.lineno, node.value


def test_no_message_spells_an_option_as_python_does():
    found = [f"{path}:{line}: {text}" for path in FILES for line, text in words(path) if PYTHON.search(text)]
    # the cards of the variants name their fields; the front doors and the registries name modules
    named = ("/zoo/variants/", "/zoo/registry.py", "/quorum.py", "/fusion/__init__.py", "/fusion/steps/__init__.py")
    named += ("/fusion/functions.py",)  # and this makes docstrings
    named += ("/evaluation/pictures/writing.py",)  # HTML has attributes
    assert [text for text in found if not any(name in text for name in named)] == []


def test_options_are_named_as_they_are_typed():
    assert option("box_format", "xyxy") == "box_format='xyxy'"
    assert option("weights.a") == "weights.a"
    with in_command_line(method="decay"):
        assert option("box_format", "xyxy") == "--box-format xyxy"
        assert option("method") == "--decay"
        assert option("as_is", True) == "--as-is"
        assert option("weights.a") == "--weights.a"
        with in_python():
            assert option("iou") == "iou"
        assert option("iou") == "--iou"
    assert option("iou") == "iou"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fuse", "x", "--method", "wbf", "--iou", "7"], "option --iou"),
        (["fuse", "x", "--method", "soft_nms", "--decay", "x"], "option --decay"),
        (
            ["fuse", "x", "--method", "nms", "--decay", "linear"],
            "--method nms: does not take --decay. It takes --iou, --across-categories.",
        ),
        (
            ["fuse", "x", "--method", "soft_nms", "--k", "1"],
            "It takes --decay, --sigma, --iou, --floor, --across-categories.",
        ),
        (["fuse", "x", "--method", "wbf", "--member-weights", "a"], "option --member-weights: expected name=number"),
        (["import", "x", "--picture", "big"], "option --picture"),
        (["import", "x", "--label-map", "1="], "option --label-map"),
        (["import", "x", "--images", "file_name", "--image-offset", "3"], "option --image-offset"),
    ],
)
def test_errors_of_the_command_line(arguments, words, run, tmp_path):
    code, _, err = run(*arguments, "-o", tmp_path / "y.parquet")
    assert code == 2
    assert words in err

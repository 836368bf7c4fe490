"""The class tree against the published cases and the official code."""

import importlib
import importlib.util
import json
import random
import re
import sys
from pathlib import Path

import pytest

from fusion.errors import InputError
from fusion.hierarchy import Hierarchy, read_hierarchy

DATA = Path(__file__).parents[3] / "shared" / "data" / "openimages" / "bbox_labels_600_hierarchy.json"


def node(label, *children, **more):
    return {"LabelName": label, **({"Subcategory": list(children)} if children else {}), **more}


# the tree of the published tests: d and f have several parents
TREE = node("a", node("b"), node("c", node("d"), node("e"), node("f", node("d"))), node("f", node("d")))


def test_published_tree():
    tree = Hierarchy.from_tree(TREE)
    assert list(tree) == ["b", "c", "d", "e", "f"]
    assert tree.ancestors("b") == ()
    assert tree.ancestors("d") == ("c", "f")
    assert tree.descendants("c") == ("d", "e", "f")
    assert tree.descendants("b") == ()
    assert "a" not in tree
    assert len(tree) == 5


def test_parts_are_no_kinds():
    tree = Hierarchy.from_tree(node("root", node("car", Part=[node("wheel")]), node("wheel")))
    assert tree.ancestors("wheel") == ()
    assert "wheel" not in Hierarchy.from_tree(node("root", node("car", Part=[node("wheel")])))


def random_tree(rng, depth=0):
    children = [random_tree(rng, depth + 1) for _ in range(rng.randrange(4) if depth < 4 else 0)]
    return node(f"{depth}{rng.choice('xyz')}", *children)


def official_relations(tree):
    """Ancestors and descendants of the official expansion; a module without TensorFlow, but with absl."""
    if importlib.util.find_spec("object_detection") is None:
        pytest.skip("the official code is not installed: pip install --no-deps tf_models_research_object_detection")
    pytest.importorskip("absl", reason="the official code needs absl")
    name = "object_detection.dataset_tools.oid_hierarchical_labels_expansion"
    module = sys.modules.get(name) or importlib.import_module(name)
    below, above, _ = module._build_plain_hierarchy(tree, skip_root=True)
    return above, below


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_official_expansion(seed):
    tree = random_tree(random.Random(seed))
    check(tree, Hierarchy.from_tree(tree))


def check(tree, ours):
    above, below = official_relations(tree)
    assert {label: set(ours.ancestors(label)) for label in ours} == above
    assert {label: set(ours.descendants(label)) for label in ours} == below


@pytest.mark.skipif(not DATA.is_file(), reason="the real files are not beside the checkout (../shared/data)")
def test_real_tree():
    ours = read_hierarchy(DATA)
    assert "/m/0bl9f" not in ours
    assert len(ours) == 601 - len(set(parts_alone(json.loads(DATA.read_text()))))
    check(json.loads(DATA.read_text()), ours)


def parts_alone(tree):
    """Labels that occur as parts, never as kinds."""
    kinds, parts, waiting = set(), set(), [(tree, True)]
    while waiting:
        item, kind = waiting.pop()
        (kinds if kind else parts).add(item["LabelName"])
        waiting += [(child, kind) for child in item.get("Subcategory", [])]
        waiting += [(child, False) for child in item.get("Part", [])]
    return parts - kinds


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        ("[1]", ["root", "object with 'LabelName'"]),
        ('{"LabelName": 5}', ["root", "'LabelName'", "got 5"]),
        (
            '{"LabelName": "a", "Subcategory": [{"LabelName": "b", "Subcategory": 7}]}',
            ["root > a > b", "'Subcategory'"],
        ),
        ('{"LabelName": "a", "Subcategory": [{}]}', ["root > a", "'LabelName'", "got None"]),
        ('{"LabelName": "a"', ["not complete JSON"]),
        ('{"LabelName": "a", "Subcategory": [' * 3000 + "]}" * 3000, ["nested hundreds of lists or objects deep"]),
    ],
)
def test_errors_name_the_node(tmp_path, document, parts):
    path = tmp_path / "tree.json"
    path.write_text(document)
    with pytest.raises(InputError) as caught:
        read_hierarchy(path)
    assert "tree.json" in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_unknown_class_and_missing_file(tmp_path):
    with pytest.raises(InputError, match="no class 'x'"):
        Hierarchy.from_tree(TREE).descendants("x")
    with pytest.raises(InputError, match="no such file"):
        read_hierarchy(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (node("root", node("a", node("a"))), "class 'a' stands above itself$"),
        (node("root", node("a", node("b", node("a")))), "class 'a' stands above itself"),
        (node("root", node("a", node("b")), node("b", node("a"))), "'a' stands above itself, by way of 'b'"),
        (
            node("root", node("a", node("b")), node("b", node("c")), node("c", node("d"), node("a"))),
            "'a' stands above itself, by way of 'c', 'b'",
        ),
    ],
)
def test_circles_are_refused(tree, words):
    with pytest.raises(InputError) as caught:
        Hierarchy.from_tree(tree, "tree.json")
    assert re.search(words, caught.value.problem)

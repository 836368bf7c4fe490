"""The search from Python: what the command finds."""

import numpy as np
import pytest

from fusion.errors import InputError
from fusion.recipe_file import read_recipe
from quorum import search
from tests.search.members import make_members, make_truth

TRUTH = make_truth(5, images=40, categories=3, objects=250)
TABLES = make_members(5, 3, TRUTH)


def test_the_answer_is_written_and_goes_on(tmp_path):
    told = []
    found = search.search(TABLES, TRUTH, budget=40, output=tmp_path / "s", progress=told.append)
    assert any("trial" in what for what in told)
    assert read_recipe(tmp_path / "s" / "best.toml").to_toml() == found.recipe.to_toml()
    assert {path.name for path in (tmp_path / "s").iterdir()} >= {"best.toml", "report.html", "report.md", "tree.svg"}
    assert len(found.recipe.fuse(TABLES)) > 0
    again = search.search(TABLES, TRUTH, budget=40, output=tmp_path / "s")
    assert again.recipe.to_toml() == found.recipe.to_toml()
    assert again.gain("best member", "verify") == found.gain("best member", "verify")


def test_splits_of_ones_own_and_nothing_learned():
    splits = {"a": TRUTH.image_id[0::2], "b": TRUTH.image_id[1::2]}
    found = search.search(TABLES, TRUTH, splits=splits, learn="nothing", mode="greedy", budget=15)
    assert list(found.rivals) == ["a", "b"]
    assert found.problem.preparation.treatment == "as they are"
    assert found.stack is None
    assert np.array_equal(found.problem.search.truth.image_id, splits["a"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"learn": "much"}, "learn"),
        ({"mode": "quick"}, "mode"),
        ({"workers": 0}, "workers"),
        ({"budget": 0}, "budget"),
        ({"splits": {"a": TRUTH.image_id}}, "at least two"),
    ],
)
def test_wrong_options_are_named(given, said):
    with pytest.raises(InputError, match=said):
        search.search(TABLES, TRUTH, **given)

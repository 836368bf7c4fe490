"""Imports go down only: quorum -> search, zoo -> evaluation -> fusion."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW = {
    "fusion": set(),
    "evaluation": {"fusion"},
    "zoo": {"fusion", "evaluation"},
    "search": {"fusion", "evaluation"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module).partition(".")[0]


@pytest.mark.parametrize("package", BELOW)
def test_imports_go_down(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        wrong = (set(imported(path)) & {*BELOW, "quorum", "tests", "benchmarks"}) - BELOW[package] - {package}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize("package", BELOW)
def test_packages_are_typed(package):
    assert (ROOT / package / "py.typed").exists()

"""The documentation can be read in an editor, its Python goes in by the front door, and its notebook runs."""

import ast
import functools
import os
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
PAGES = sorted([*Path(__file__).parents[1].glob("*.md"), *Path(__file__).parents[1].glob("docs/*.md")])
WIDTH = 120


def written_lines(text: str) -> list[tuple[int, str]]:
    """Lines that a person wrote: not tables, and not the output of a command (a block without a language)."""
    lines, language = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            language = line.strip("` ") if language is None else None
        elif language != "" and not line.startswith("|"):
            lines.append((number, line))
    return lines


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_not_too_wide(page):
    wide = [number for number, line in written_lines(page.read_text()) if len(line) > WIDTH]
    assert not wide, f"{page.name}: lines {wide} are wider than {WIDTH} characters"


def blocks_of(page):
    """Python of a page; not what goes into a file of a package, whose first line names the file."""
    found = re.findall("^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [block for block in found if not block.startswith("# zoo/")]


def cells():
    return [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]


CODE = {f"{page.name}-{n}": block for page in PAGES for n, block in enumerate(blocks_of(page))}
CODE["notebook.ipynb"] = "\n".join(cells())


@pytest.mark.parametrize("name", CODE)
def test_python_goes_in_by_the_front_door(name):
    known = {}
    for node in ast.walk(ast.parse(CODE[name])):
        if isinstance(node, ast.ImportFrom):
            assert node.module in ("quorum", "pathlib"), f"from {node.module} import ..."
            known |= {one.name: import_module(one.name) for one in node.names if node.module == "quorum"}
        elif isinstance(node, ast.Import):
            assert {one.name for one in node.names} <= {"quorum", "tempfile"}
            known["quorum"] = import_module("quorum")
    used = [ast.unparse(node) for node in ast.walk(ast.parse(CODE[name])) if isinstance(node, ast.Attribute)]
    for text in used:
        first, *names = text.split(".")
        if first in known and all(map(str.isidentifier, names)):
            functools.reduce(getattr, names, known[first])  # AttributeError where there is none


def test_python_is_found():
    assert len(CODE) > 12


def test_the_notebook_is_kept_without_its_output():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert cell.cell_type == "markdown" or (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the kernel's machinery
def test_the_notebook_runs(tmp_path, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert any("AP over the best member" in str(output.get("data", {}).get("text/plain")) for output in outputs)
    assert any("<table" in str(output.get("data", {}).get("text/html")) for output in outputs)


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_says_what_it_installs_and_how_large_that_is(target, tmp_path):
    if shutil.which("make") is None:
        pytest.skip("there is no make here")
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    said = subprocess.run(["make", "-n", target], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    installing = said.index("Installing Quorum")
    assert "GB" in said[installing:].splitlines()[0]
    assert installing < said.index("pip install")
    assert "--quiet" not in said


def test_the_submission_that_is_checked_is_the_one_that_was_written():
    page = (ROOT / "README.md").read_text()
    submitted = re.search(r"--split (\S+) --algorithm (\S+) .*?-o (\S+)", page.replace("\\\n", ""))
    split, algorithm, folder = submitted.groups()
    assert re.search(r"submit --check (\S+)", page)[1] == f"{folder}/detections_{split}_{algorithm}_results.zip"

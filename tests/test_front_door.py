"""The front door leads to our packages, whatever else has their names: each case in a process of its own."""

import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = ("fusion", "evaluation", "search", "zoo")
USE = """
from quorum import evaluation, fusion, search, zoo
import fusion.table, evaluation.figures, search.splits, zoo.synthetic
print(*(Path(module.__path__[0]).parent for module in (fusion, evaluation, search, zoo)))
"""


def python(*arguments, cwd, path=(ROOT,), main=sys.executable):
    """Run Python in a folder, with folders to find modules in after it; return what it printed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [main, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def script(text):
    return f"from pathlib import Path\n{textwrap.dedent(text)}"


def packages(folder, names=NAMES):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('the {name} of somebody else')\n")


def bare_folders(folder):
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "notes.txt").write_text("no module\n")


def single_files(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"raise RuntimeError('the {name} of somebody else')\n")


KINDS = [packages, bare_folders, single_files]


@pytest.mark.parametrize("kind", KINDS)
def test_from_inside_a_folder_with_folders_of_the_same_names(tmp_path, kind):
    kind(tmp_path)
    expected = " ".join([str(ROOT)] * 4) + "\n"
    assert python("-c", script(USE), cwd=tmp_path) == (0, expected, "")
    (tmp_path / "script.py").write_text(script(USE))
    assert python("script.py", cwd=tmp_path) == (0, expected, "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", [["-m", "quorum"], ["-c", "import quorum; quorum.main()"], [ROOT / "quorum.py"]])
def test_commands_from_inside_such_a_folder(tmp_path, kind, door):
    kind(tmp_path)
    (tmp_path / "gt.json").write_text('{"images": [{"id": 1}, {"id": 2}], "annotations": [], "categories": []}')
    code, _, err = python(*door, "split", "gt.json", "-o", "lists", cwd=tmp_path)
    assert code == 0, err
    assert (tmp_path / "lists" / "part-1.txt").read_text() == "2\n"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment with packages of the same names: two as files, two that another folder is searched for.

    What is installed for the tests comes after them, and Quorum's own folder last.
    """
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", folder / "venv"], check=True)
    [site] = (folder / "venv").glob("lib/python*/site-packages")
    packages(site, NAMES[:2])
    packages(folder / "project" / "src", NAMES[2:])
    lines = [folder / "project" / "src", sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), ROOT]
    (site / "_a_project_under_development.pth").write_text("".join(f"{line}\n" for line in lines))
    return folder / "venv" / "bin" / "python"


def test_in_an_environment_with_packages_of_the_same_names(tmp_path, environment):
    code, _, err = python("-c", "import fusion", cwd=tmp_path, path=(), main=environment)
    assert code == 1
    assert "the fusion of somebody else" in err
    found = python("-c", script(USE), cwd=tmp_path, path=(), main=environment)
    assert found == (0, " ".join([str(ROOT)] * 4) + "\n", "")
    code, out, err = python("-m", "quorum", "zoo", "list", cwd=tmp_path, path=(), main=environment)
    assert (code, out != "") == (0, True), err


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder as `pip install` makes it, and other people's packages of the same names installed beside."""
    folder = tmp_path_factory.mktemp("site")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    for name in settings["targets"]["wheel"]["only-include"]:
        place = folder / settings["targets"]["wheel"]["sources"].get(name, name)
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(ROOT / name) if (ROOT / name).is_dir() else shutil.copy(ROOT / name, place)
    for name in NAMES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"print('the {name} of somebody else')\n")
    return folder


def test_installed_beside_packages_of_the_same_names(tmp_path, installed):
    expected = " ".join([str(installed / "quorum_detection")] * 4) + "\n"
    assert python("-c", script(USE), cwd=tmp_path, path=(installed,)) == (0, expected, "")
    code, out, err = python("-m", "quorum", "zoo", "list", cwd=tmp_path, path=(installed,))
    assert (code, "somebody else" in out) == (0, False), err
    for name in NAMES:  # a process that does not import quorum knows nothing of ours
        assert python("-c", f"import {name}", cwd=tmp_path, path=(installed,))[1] == f"the {name} of somebody else\n"


def test_processes_that_an_installed_one_starts(tmp_path, installed):
    text = """
        import quorum
        from concurrent.futures import ProcessPoolExecutor
        from fusion.processes import fresh_processes
        from fusion.steps import class_name

        with ProcessPoolExecutor(1, mp_context=fresh_processes("spawn")) as pool:
            print(pool.submit(class_name, "soft_nms").result())
    """
    code, out, err = python("-c", textwrap.dedent(text), cwd=tmp_path, path=(installed,))
    assert (code, out) == (0, "SoftNms\n"), err


def test_one_that_is_imported_before_is_named(tmp_path):
    (tmp_path / "evaluation.py").write_text("def score(): return 1\n")
    code, out, err = python("-c", "import evaluation, quorum", cwd=tmp_path)
    assert (code, out) == (1, "")
    [last] = err.splitlines()[-1:]
    assert last.startswith(f"ImportError: 'evaluation' is imported already from {tmp_path / 'evaluation.py'}")
    assert "the command `quorum`" in last
    bare_folders(tmp_path / "other")
    alone = "import sys; others = sys.path[1:]; del sys.path[1:]; import search; sys.path += others; import quorum"
    code, out, err = python("-c", alone, cwd=tmp_path / "other")
    assert code == 1
    assert f"'search' is imported already from {tmp_path / 'other' / 'search'}" in err


def test_ours_may_be_imported_before(tmp_path):
    code, out, err = python("-c", "import fusion, quorum; print(quorum.fusion is fusion)", cwd=tmp_path)
    assert (code, out) == (0, "True\n"), err


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("place", ["file", "command"])
def test_processes_that_are_started_find_ours(tmp_path, method, place):
    packages(tmp_path)
    text = """
        from quorum import fusion
        from fusion.processes import fresh_processes
        from fusion.steps import step_names

        if __name__ == "__main__":
            context = fresh_processes(METHOD)
            process = context.Process(target=step_names, name="worker")
            process.start()
            process.join()
            print(process.exitcode)
    """.replace("METHOD", repr(method))
    (tmp_path / "script.py").write_text(textwrap.dedent(text))
    given = ["script.py"] if place == "file" else ["-c", textwrap.dedent(text)]
    code, out, err = python(*given, cwd=tmp_path)
    assert (code, out) == (0, "0\n"), err

"""Imports go down only: quorum -> search, zoo -> evaluation -> fusion."""

import ast
import subprocess
import sys
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


def modules_of(package):
    files = {path: path.relative_to(ROOT).with_suffix("").parts for path in (ROOT / package).rglob("*.py")}
    return {".".join(parts).removesuffix(".__init__"): path for path, parts in files.items()}


def used_by(path, modules):
    """Modules of the package that a file imports anywhere, lazily too; not what only type checkers read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.name == "__init__.py" and path.with_suffix(".pyi").exists():  # what the package hands on is listed there
        tree.body += ast.parse(path.with_suffix(".pyi").read_text(encoding="utf-8")).body
    skipped = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for line in node.body
        for part in ast.walk(line)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in modules)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name.name}" for name in node.names]
            yield from (name if name in modules else str(node.module) for name in names)


def circle(edges):
    """A list of modules that import one another in a circle; empty where there is none."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        path.append(module)
        for other in sorted(edges.get(module, ())):
            if found := visit(other):
                return found
        path.pop()
        done.add(module)
        return []

    return next(filter(None, map(visit, sorted(edges))), [])


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("package", BELOW)
def test_no_circles(package):
    modules = modules_of(package)
    edges = {name: {*used_by(path, modules)} & set(modules) - {name} for name, path in modules.items()}
    assert circle(edges) == []


def test_the_gpu_knows_steps_and_pools_and_nothing_that_chooses_it():
    modules = modules_of("fusion")
    for name, path in modules.items():
        if name.startswith("fusion.cuda"):
            assert not {"fusion", "fusion.run", "fusion.recipe"} & {*used_by(path, modules)}, name
            assert " step._" not in path.read_text(encoding="utf-8"), name


@pytest.mark.parametrize("package", BELOW)
def test_no_file_reaches_for_a_private_name_of_another(package):
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in BELOW:
                names = [name.name for name in node.names]
                assert not [name for name in names if name.startswith("_")], f"{path.relative_to(ROOT)}: {names}"


def test_a_method_loads_no_other():
    code = """
import sys, fusion
from fusion import InputError
assert not {"numba", "numpy", "pandas", "pyarrow"} & set(sys.modules)
fusion.nms
fusion.parse_recipe('recipe = 1\\n[nodes.output]\\nstep = "mask_nms"\\ninputs = ["*"]')
print(*[name for name in sys.modules if name.startswith("fusion.steps.")])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(said.stdout.split()) == {"fusion.steps.base", "fusion.steps.nms", "fusion.steps.mask_nms"}


def test_a_public_class_has_a_name_of_its_own():
    places = {}
    for package in BELOW:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("package", BELOW)
def test_packages_are_typed(package):
    assert (ROOT / package / "py.typed").exists()


PACKAGES = sorted(str(path.parent.relative_to(ROOT)) for package in BELOW for path in (ROOT / package).rglob("*.pyi"))


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_hand_on_what_their_stubs_say(package):
    name = package.replace("/", ".")
    code = f"""
import sys, {name}
from fusion.lazily import homes_in_stub
assert not {{"numpy", "pyarrow", "numba"}} & set(sys.modules)
homes = homes_in_stub({name}.__file__ + "i")
homes = {{one: module for one, module in homes.items() if module.split(".")[0] == {name.split(".")[0]!r}}}
assert homes and set(homes) <= set(dir({name}))
for one, module in homes.items():
    assert getattr({name}, one) is getattr(sys.modules[module], one), one
try:
    {name}.nothing
except AttributeError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert said.stdout == f"module '{name}' has no attribute 'nothing'\n", said.stderr

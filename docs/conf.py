"""How `make docs` makes a site of these pages: the how-tos as they are, the reference from the docstrings."""

import inspect
import sys
from importlib import import_module
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

import quorum  # noqa: E402, F401 - our packages, whatever else has their names

project = "Quorum"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = []
html_theme = "furo"
html_title = "Quorum"
default_role = "code"

myst_heading_anchors = 4
nb_execution_timeout = 300
nb_execution_raise_on_error = True

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 100


def _entry(package: str, name: str) -> str:
    """Return what documents a public name."""
    kind = "autoclass" if inspect.isclass(getattr(import_module(package), name)) else "autofunction"
    members = "   :members:\n   :inherited-members: tuple, ValueError, Struct\n" if kind == "autoclass" else ""
    return f".. {kind}:: {package}.{name}\n{members}"


def _write_reference() -> None:
    """Write a page per package, of the names that it hands on; methods as functions, whose steps are named alike."""
    from fusion.lazily import homes_in_stub
    from fusion.names import HOMES
    from fusion.steps import step_names

    names = {"quorum": ["auto", "load"], "fusion": [*sorted(HOMES), *step_names()]}
    inner = ("evaluation.analysis", "evaluation.report", "evaluation.submissions")
    for package in ("evaluation", *inner, "search", "zoo"):
        stub = DOCS.parent.joinpath(*package.split("."), "__init__.pyi")
        names[package] = sorted(name for name, home in homes_in_stub(stub).items() if home.startswith(package))
    folder = DOCS / "reference"
    folder.mkdir(exist_ok=True)
    for package, own in names.items():
        entries = "\n".join(_entry(package, name) for name in own)
        text = f"# `{package}`\n\n```{{eval-rst}}\n{entries}```\n"
        page = folder / f"{package}.md"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


_write_reference()

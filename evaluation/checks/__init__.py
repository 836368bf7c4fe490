"""What may be wrong with ground truth, one check per file: its function `look` finds it. A file adds a check."""

import pkgutil
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evaluation.checks.base import Subject, TruthFinding

__all__ = ["check_names", "looked_at"]


def check_names() -> tuple[str, ...]:
    """Return the names of all checks, sorted."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name != "base"))


def looked_at(subject: "Subject") -> "Iterator[TruthFinding]":
    """Run all checks."""
    for name in check_names():
        for finding in import_module(f"{__name__}.{name}").look(subject):
            yield replace(finding, check=name)

"""The variants that the zoo knows: a name, a config, and the row of the report that it stands for.

A variant is a function that returns a config, in any file of `zoo/variants`:

    @variant(report="megdetv2-coco2019", table="1", row=2, parent="md19_r50_fpn", changes=("backbone.deform",),
             reported={"box AP": 38.9})
    def md19_r50_dcn() -> Model:
        base = md19_r50_fpn()
        return replace(base, backbone=replace(base.backbone, deform=DeformConv()))
"""

import difflib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Literal, TypeVar

from fusion.errors import InputError
from zoo import variants as package
from zoo.config import AnyModel
from zoo.scale import tiny

__all__ = ["Variant", "find", "variant", "variants"]

Scale = Literal["full", "tiny"]
_M = TypeVar("_M", bound=AnyModel)
_known: dict[str, "Variant"] = {}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A named config.

    Attributes:
        name: Its name.
        full: Returns the config at the report's scale.
        report: The report it is from, or "" for one of the user's own.
        table: Table of the report.
        row: Row of the table.
        reported: Metrics in percent as the authors printed them; not reproduced here.
        note: What else the report says, or what was decided here.
        parent: The variant that it changes, or None.
        changes: Fields in which it differs from its parent.
        boxes_from: The variant whose detections its mask head is given (two passes), or None.
    """

    name: str
    full: Callable[[], AnyModel]
    report: str = ""
    table: str = ""
    row: int = 0
    reported: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    parent: str | None = None
    changes: tuple[str, ...] = ()
    boxes_from: str | None = None

    def make(self, scale: Scale = "full") -> AnyModel:
        """Return the config at the report's scale, or one small enough for a CPU."""
        model = self.full()
        return tiny(model) if scale == "tiny" else model


def variant(
    *,
    report: str = "",
    table: str = "",
    row: int = 0,
    reported: Mapping[str, float] | None = None,
    note: str = "",
    parent: str | None = None,
    changes: tuple[str, ...] = (),
    boxes_from: str | None = None,
) -> Callable[[Callable[[], _M]], Callable[[], _M]]:
    """Register a function that returns a config, under its name; the arguments are those of `Variant`."""

    def register(full: Callable[[], _M]) -> Callable[[], _M]:
        name = full.__name__
        if name in _known:
            raise InputError(f"variant {name}", "is registered already", "Take another name")
        _known[name] = Variant(
            name=name,
            full=full,
            report=report,
            table=table,
            row=row,
            reported=dict(reported or {}),
            note=note,
            parent=parent,
            changes=changes,
            boxes_from=boxes_from,
        )
        return full

    return register


def variants() -> dict[str, Variant]:
    """Return all variants by name, those of every file in `zoo/variants`, in the order of the reports' tables."""
    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return dict(_known)


def find(name: str) -> Variant:
    """Return a variant.

    Raises:
        InputError: If there is none of this name.
    """
    known = variants()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise InputError(
            f"variant {name}",
            "is not in the zoo",
            f"Did you mean {', '.join(near)}?"[:-1] if near else "quorum zoo list names them",
        )
    return known[name]

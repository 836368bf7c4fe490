"""The page: sections written by one template, with style, script and data inside."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from evaluation.report.blocks import Choice, PageBlock
from fusion.atomic import replacing

__all__ = ["Page", "Section"]

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading.

    Attributes:
        title: The heading.
        blocks: What stands below.
        lead: A sentence that says what is shown.
    """

    title: str
    blocks: Sequence[PageBlock]
    lead: str = ""

    @property
    def anchor(self) -> str:
        """What a link to it ends with."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: The heading.
        subject: What was measured, on what.
        sections: In their order.
    """

    title: str
    subject: str
    sections: Sequence[Section]

    def to_html(self) -> str:
        """Return the page, one file that needs no other."""
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        named: list[tuple[str, PageBlock]] = []

        def name_of(block: PageBlock) -> str:
            named.append((f"b{len(named)}", block))
            return named[-1][0]

        template = environment.get_template("page.html")
        body = template.module.body(self.sections, name_of)
        data = {name: {"kind": block.kind, **own} for name, block in named if (own := block.data()) is not None}
        text: str = template.render(
            page=self,
            content=body,
            style=(_HERE / "page.css").read_text(encoding="utf-8"),
            script=(_HERE / "page.js").read_text(encoding="utf-8"),
            data=_inert(msgspec.json.encode(data, enc_hook=_number).decode()),
        )
        return text

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the page atomically."""
        text = self.to_html()
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    @property
    def blocks(self) -> Iterator[PageBlock]:
        """Every block, those that are not shown at the beginning as well."""
        waiting: list[PageBlock] = [block for section in self.sections for block in section.blocks]
        while waiting:
            block = waiting.pop(0)
            yield block
            waiting = [*(block.blocks.values() if isinstance(block, Choice) else ()), *waiting]


def _inert(text: str) -> str:
    """Return JSON that cannot end the element that it stands in."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _number(value: Any) -> Any:
    return value.item()

"""The documentation can be read in an editor: no line is wider than 120 characters, tables and output aside."""

from pathlib import Path

import pytest

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

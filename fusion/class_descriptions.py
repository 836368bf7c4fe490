"""Open Images' class descriptions, whose order numbers the categories."""

import csv
import os
from pathlib import Path

from fusion.errors import InputError
from fusion.text import open_text

__all__ = ["read_class_descriptions"]


def read_class_descriptions(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read lines of label and name, with or without the header LabelName, DisplayName.

    Returns:
        Label -> name, in the order of the category ids 1, 2, ...; the label itself where there is no name.

    Raises:
        InputError: If the file cannot be read, has no labels, or a label is empty or occurs twice.
    """
    place = Path(path)
    try:
        with open_text(place, "class descriptions") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except (UnicodeError, csv.Error) as error:
        raise InputError(place, f"expected class descriptions, lines of label,name ({error})") from error
    if rows and rows[0][0] == "LabelName":
        rows = rows[1:]
    found: dict[str, str] = {}
    for label, *name in rows:
        if not label or label in found:
            got = f"{label!r} twice" if label else "an empty one"
            raise InputError(place, f"expected labels such as /m/011k07, each once, got {got}")
        found[label] = name[0] if name and name[0] else label
    if not found:
        raise InputError(place, "expected labels such as /m/011k07, each once, got none at all")
    return found

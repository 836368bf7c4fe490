"""The files that `quorum learn` writes, and what they were learned on."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from fusion.atomic import replacing
from fusion.errors import InputError
from fusion.toml_values import build, parse_toml, toml_value

__all__ = ["TunedOn", "agreed_origin", "read_learned", "write_learned"]

_TUNED_ON = ("fingerprint", "images", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedOn:
    """The data a recipe's numbers were learned on.

    Attributes:
        fingerprint: Of the ground truth, `GroundTruth.fingerprint`.
        images: Number of its images.
        note: In words.
        categories: Fingerprint of its categories; "" where it is not known.
        category_names: Some of them: id as text -> name.
    """

    fingerprint: str
    images: int
    note: str = ""
    categories: str = ""
    category_names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what TOML stores: what is not known is left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value or name in _TUNED_ON}

    def check(self, where: str, categories: str | None, names: Mapping[str, str], than: str = "the tables") -> None:
        """Require that something else is of the same categories, as far as is known.

        Args:
            where: What was learned, for messages.
            categories: Fingerprint of the other's categories.
            names: Some of these: id as text -> name.
            than: What the other is.

        Raises:
            InputError: If they differ.
        """
        if not self.categories or not categories or self.categories == categories:
            return
        differ = [key for key, name in self.category_names.items() if names.get(key) and name != names[key]]
        said = "".join(
            f": category {key} is {self.category_names[key]!r} there, not {names[key]!r}" for key in differ[:1]
        )
        problem = f"was learned on other categories than {than} have{said} ({self.note or 'no note'})"
        raise InputError(where, problem, "Learn it on ground truth of the same data set")


def read_learned(path: str | os.PathLike[str], key: str) -> tuple[Any, TunedOn | None]:
    """Read what `quorum learn` wrote: a TOML file with a table [weights], [maps] or [relations].

    Returns:
        The table, and the data it was learned on where the file says so.

    Raises:
        InputError: If the file cannot be read or has no such table.
    """
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(place, f"expected a TOML file with a table [{key}] ({error})") from error
    document = parse_toml(text, place, f"a TOML file with a table [{key}]")
    if key not in document:
        raise InputError(place, f"expected a table [{key}], got {', '.join(document) or 'an empty file'}")
    if document[key] == {} and key in ("weights", "maps"):
        raise InputError(place, f"its table [{key}] is empty", "Learn it again")
    tuned_on = document.get("tuned_on")
    return document[key], None if tuned_on is None else build(TunedOn, tuned_on, f"{place}, tuned_on")


def write_learned(
    path: str | os.PathLike[str],
    key: str,
    table: Any,
    tuned_on: TunedOn,
    **more: Mapping[str, Any],
) -> None:
    """Write what was learned as a TOML file, atomically; `more` are further tables beside the one called `key`."""
    document = {"tuned_on": tuned_on.to_dict()}
    document |= {name: toml_value(entry) for name, entry in {key: table, **more}.items()}
    with replacing(path) as temporary:
        temporary.write_text(tomli_w.dumps(document, multiline_strings=True), encoding="utf-8")


def agreed_origin(learned: Mapping[str, "TunedOn | None"]) -> "TunedOn | None":
    """Return what several learned things were learned on, the first of them; None where none says.

    Args:
        learned: What to call each -> what it was learned on.

    Raises:
        InputError: If two were learned on other categories.
    """
    known = {name: origin for name, origin in learned.items() if origin is not None}
    for first, one in known.items():
        for name, other in known.items():
            other.check(name, one.categories, one.category_names, f"those of {first}")
    return next(iter(known.values()), None)

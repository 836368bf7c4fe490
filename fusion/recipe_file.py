"""Files of recipes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusion.atomic import replacing
from fusion.errors import InputError
from fusion.recipe import Recipe
from fusion.recipe_toml import parse_recipe

__all__ = ["read_recipe", "saving", "write_recipe"]


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe from a TOML file.

    `weights`, `box_weights`, `corrections`, `maps`, `model`, `relations`, `categories` and `scales` may name another
    TOML file, beside the recipe, that holds them, and `hierarchy` with `class_descriptions` the files of a class tree
    instead of `parents`; unless the recipe says otherwise, it is then tuned on what the first of them was learned on.

    Raises:
        InputError: If it cannot be read; unknown keys are named with a suggestion.
    """
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(place, f"expected a recipe in TOML, but it cannot be read ({error})") from error
    return parse_recipe(text, place)


def write_recipe(recipe: Recipe, path: str | os.PathLike[str]) -> None:
    """Write a recipe in its canonical form, atomically."""
    with saving(recipe, path):
        pass


@contextmanager
def saving(recipe: Recipe, path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Write a recipe whose file is in place when the block ends well, and not there at all otherwise.

    Args:
        recipe: The recipe.
        path: Its file; None writes none.

    Raises:
        InputError: If the place cannot be written to; before the block.
    """
    if path is None:
        yield
        return
    with replacing(path) as temporary:
        temporary.write_text(recipe.to_toml(), encoding="utf-8")
        yield

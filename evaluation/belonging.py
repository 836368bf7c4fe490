"""Whether a table belongs to a ground truth: imported against the same data set, its images and its categories."""

import os
from typing import Any

from evaluation.ground_truth import GroundTruth
from fusion.belonging import Sketch, apart, difference, same_file, same_word
from fusion.errors import InputError, Warned, option
from fusion.table import Metadata

__all__ = ["check_belongs", "check_category_names", "check_images", "origin_of"]


def origin_of(truth: GroundTruth) -> dict[str, Any]:
    """Return what the metadata of a table that was imported against a ground truth say of it."""
    return {
        "categories": truth.categories_fingerprint,
        "category_names": truth.category_sketch,
        "images": truth.image_sketch,
    }


def check_belongs(where: str | os.PathLike[str], table: Metadata, truth: GroundTruth) -> tuple[str, ...]:
    """Require that a table was imported against the data set of a ground truth, whichever of its images.

    Args:
        where: The table's file, for messages.
        table: What the table says about itself; what it does not say is not compared.
        truth: What it is to be measured on, or learned on.

    Returns:
        Notes: that the categories were others, where equal ids have the same names as far as is known.

    Raises:
        InputError: If an image or a category of the same id is another one, or no image is in both.
    """
    if table.images is not None and table.images.digest != truth.image_sketch.digest:
        check_images(where, table.images, truth.image_sketch_beside(table.images), truth.image_sketch, truth.source)
    if table.categories in (None, truth.categories_fingerprint):
        return ()
    remedy = "give the class descriptions that it was imported with" if truth.category_label else "check the ids"
    if table.category_names is not None:
        known = truth.category_sketch_beside(table.category_names)
        check_category_names(where, table.category_names, known, truth.source, remedy)
    said = f"was imported with other categories than {truth.source} has: equal ids may differ; {remedy}"
    return (Warned(said),)


def check_images(where: object, table: Sketch, known: Sketch, whole: Sketch, source: str) -> None:
    """Require that a table's images are those of a list, or others of the same data set beside some of these.

    Args:
        where: The table, for messages.
        table: The images it was imported against.
        known: What the list says of the images in the table's sample.
        whole: The list.
        source: Name of the list for messages.

    Raises:
        InputError: If an image of the same id is another one, or none is in both.
    """
    if table.digest == whole.digest:
        return
    other = difference(table, known, same_file)
    if other is not None:
        raise InputError(
            where,
            f"was imported against another data set than {source}: image {other.id!r} is {other.one} there and "
            f"{other.other} here",
            "Give the ground truth of its own data set; if it is the same one, import the results again with this one",
        )
    if not known.count and apart(table, whole):
        raise InputError(
            where,
            f"was imported against other images than {source} has: none of {table.count:,} is one of {whole.count:,}",
            "Give the ground truth of the table's own data set and split",
        )


def check_category_names(where: object, table: Sketch, known: Sketch, source: str, remedy: str) -> None:
    """Require that categories of the same id have the same name.

    Args:
        where: The table, for messages.
        table: The categories it was imported with.
        known: Those it is to be used with, or those of them that are in the table's sample.
        source: Name of the latter for messages.
        remedy: What else to do than to import again.

    Raises:
        InputError: If a category is another one.
    """
    other = difference(table, known, same_word)
    if other is not None:
        raise InputError(
            where,
            f"was imported with other categories than {source} has: category {other.id!r} is {other.one} there and "
            f"{other.other} here",
            f"Import it again with the same {option('ground_truth')} as here, or {remedy}",
        )

"""The sections of the page, a file each: `section(material)` makes one, or None where its part is missing."""

from evaluation.report.material import Material
from evaluation.report.page import Section
from evaluation.report.sections import (
    agreement,
    calibration,
    categories,
    confusion,
    curves,
    difference,
    errors,
    figures,
    findings,
    labels,
    pictures,
    ranking,
    sizes,
    slices,
    threshold,
)

__all__ = ["sections_of"]

_ORDER = (
    ranking,
    difference,
    findings,
    figures,
    categories,
    sizes,
    slices,
    curves,
    threshold,
    calibration,
    errors,
    confusion,
    agreement,
    pictures,
    labels,
)


def sections_of(material: Material) -> list[Section]:
    """Return the sections that can be made of what was computed."""
    made = (module.section(material) for module in _ORDER)
    return [section for section in made if section is not None]

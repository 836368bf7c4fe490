"""The check of ground truth itself: what is unusual, and what of it changes the official figures by how much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evaluation.checks import check_names, looked_at
from evaluation.checks.base import Subject, TruthFinding
from evaluation.coco_ground_truth import ID_ZERO
from evaluation.figures import figure_named, figure_of
from evaluation.ground_truth import GroundTruth
from evaluation.measured import Measured
from evaluation.prepared import prepare
from evaluation.protocol import Coco, Lvis, OpenImages
from fusion.errors import InputError
from fusion.printed_table import PrintedTable, notebook_html
from fusion.table import DetectionTable, Metadata

__all__ = ["PERFECT", "TruthCheck", "check_truth"]

PERFECT = "a perfect detector"
_PRECISE = 1e-12


@dataclass(frozen=True, eq=False)
class TruthCheck:
    """What was found in ground truth.

    Attributes:
        truth: The ground truth.
        findings: Those that change figures first.
    """

    truth: GroundTruth
    findings: tuple[TruthFinding, ...]

    def __repr__(self) -> str:
        changing = sum(finding.changes for finding in self.findings)
        return f"TruthCheck({len(self.findings)} findings, {changing} of them change figures; {self.truth})"

    def _repr_html_(self) -> str:
        return notebook_html(self, self.to_table())

    @property
    def changes(self) -> bool:
        """Whether anything changes official figures."""
        return any(finding.changes for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        truth = self.truth
        return {
            "ground_truth": truth.source,
            "images": len(truth.image_id),
            "categories": len(truth.category_id),
            "annotations": len(truth),
            "checks": list(check_names()),
            "changes_figures": self.changes,
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def to_text(self) -> str:
        """Return paragraphs for the terminal: what was found, what it does, examples."""
        return "\n".join(_paragraph(finding) for finding in self.findings)

    def to_table(self) -> PrintedTable:
        """Return a table to print: a line per finding; in bold those that change figures."""
        table = PrintedTable.of(("check", "found", "examples", "official figures", "as it is, and without it"), ())
        for finding in self.findings:
            if finding.changes:
                table.bold.add(len(table.rows))
            effect = finding.effect if finding.changes else f"unchanged: {finding.effect}"
            table.rows.append([finding.title, finding.what, _examples(finding), effect, "; ".join(_in_words(finding))])
        return table


def check_truth(
    truth: GroundTruth,
    tables: Mapping[str, DetectionTable] | None = None,
    *,
    protocol: Coco | Lvis | OpenImages | None = None,
    beside: Mapping[str, Sequence[str]] | None = None,
    lists: Mapping[str, np.ndarray] | None = None,
    refused: Sequence[TruthFinding] = (),
) -> TruthCheck:
    """Look for what is unusual in ground truth, and measure what of it changes figures.

    Each finding that can be mended is measured as it is and mended: with each table, and with detections that are the
    mended objects themselves, as a perfect detector finds them.

    Args:
        truth: Ground truth.
        tables: Detections by name.
        protocol: What is measured; COCO's boxes by default.
        beside: File names of the images of other splits, by name of the split.
        lists: int64 places of the images of lists of this ground truth (`quorum split`), by name of the list.
        refused: What `read_mended` found and mended.
    """
    protocol = protocol or Coco()
    caps = protocol.caps[-1] if not isinstance(protocol, OpenImages) else protocol.max_dets
    found = [*refused, *looked_at(Subject(truth, caps, beside or {}, lists or {}))]
    found += [_of_reader(note) for note in truth.notes if note != ID_ZERO]
    as_it_is: dict[str, Measured] = {}
    measured = [_measured(finding, truth, tables or {}, protocol, as_it_is) for finding in found]
    return TruthCheck(truth, tuple(sorted(measured, key=lambda finding: not finding.changes)))


def _of_reader(note: str) -> TruthFinding:
    return TruthFinding(str(note), "it was read as said", 1, check="reading")


def _measured(
    finding: TruthFinding,
    truth: GroundTruth,
    tables: Mapping[str, DetectionTable],
    protocol: Coco | Lvis | OpenImages,
    as_it_is: dict[str, Measured],
) -> TruthFinding:
    """Return a finding with its figures."""
    if finding.mended is None:
        return finding
    mended = finding.mended()
    names = [name for name in finding.figures if figure_named(name, protocol)]
    try:
        before, after = prepare(finding.official or truth, protocol), prepare(mended, protocol)
        figures = {}
        for name, table in {PERFECT: _objects(mended, protocol.iou_type), **tables}.items():
            if finding.official is None and name != PERFECT:
                result = as_it_is[name] = as_it_is.get(name) or before.evaluate(table)
            else:
                result = before.evaluate(table)
            now = after.evaluate(table)
            figures[name] = {one: (float(getattr(result, one)), float(getattr(now, one))) for one in names}
    except InputError:  # another finding: masks that cannot be read
        return finding
    return replace(finding, measured=figures)


def _objects(truth: GroundTruth, iou_type: str) -> DetectionTable:
    """Return the objects as detections."""
    rows = np.flatnonzero(~truth.crowd)
    masks = truth.masks if iou_type == "segm" else None
    return DetectionTable.from_arrays(
        image_id=truth.image_id[truth.image[rows]],
        category_id=truth.category_id[truth.category[rows]],
        score=np.ones(len(rows)),
        xyxy=truth.corners[rows],
        mask=None if masks is None else masks.take(rows),
        metadata=Metadata(unit=truth.unit),
    )


def _in_words(finding: TruthFinding) -> list[str]:
    """`AP of a perfect detector 0.9876, 1.0000`; figures that stay as they are are left out."""
    lines = []
    for name, figures in finding.measured.items():
        for one, (given, mended) in figures.items():
            if abs(given - mended) > _PRECISE or (given != given) != (mended != mended):
                figure = figure_of(one)
                lines.append(f"{one} of {name} {figure.text(given)}, {figure.text(mended)}")
    return lines or (["the same"] if finding.measured else [])


def _examples(finding: TruthFinding) -> str:
    return "; ".join(", ".join(f"{k} {v}" for k, v in one.items() if v != "") for one in finding.examples)


def _paragraph(finding: TruthFinding) -> str:
    head = f"{'CHANGES FIGURES' if finding.changes else 'note'}: {finding.title}: {finding.what}"
    measured = _in_words(finding)
    effect = finding.effect + (f". As it is, and without it: {'; '.join(measured)}" if measured else "")
    examples = [f"    such as {_examples(finding)}"] if finding.examples else []
    return "\n".join([head, f"    {effect}", *examples])

"""What a check of a submission found: kinds of faults with counts and first examples."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from fusion.printed_table import PrintedColumn, PrintedTable

__all__ = ["Finding", "Findings", "Report", "size_text"]

_SHOWN = 4
_ORDER = ("error", "warning", "note")
_STYLE = {"error": "bold red", "warning": "yellow", "note": "dim"}


@dataclass(frozen=True)
class Finding:
    """One kind of fault.

    Attributes:
        severity: "error": a server would refuse the file, or count what is concerned as if it were not there.
            "warning": it is accepted, and probably not meant. "note": good to know.
        what: The fault.
        count: How often it occurs.
        examples: The first places.
        remedy: What to do; "" where nothing has to be done.
    """

    severity: str
    what: str
    count: int
    examples: tuple[str, ...]
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a submission is and what was found in it.

    Attributes:
        source: The file or table that was checked.
        format: "coco", "lvis", "openimages-detection", "openimages-segmentation" or "openimages-evaluator".
        iou_type: "bbox" or "segm".
        detections: Number of detections; of a table, those that are written.
        images: Number of images with detections.
        listed: Number of images of the list; None without a list.
        size: Bytes of the file; of a table about what they will be, before compression.
        packed: About the bytes in a zip archive; None for a file.
        findings: Errors first, then warnings, then notes.
    """

    source: str
    format: str
    iou_type: str
    detections: int
    images: int
    listed: int | None
    size: int
    packed: int | None
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What a server would refuse, or not count."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What is accepted and probably not meant."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return {
            "source": self.source,
            "format": self.format,
            "iou_type": self.iou_type,
            "ok": self.ok,
            "detections": self.detections,
            "images": self.images,
            "listed_images": self.listed,
            "size": self.size,
            "packed": self.packed,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def summary(self) -> str:
        """Return what was checked, in a line."""
        listed = "" if self.listed is None else f" of {self.listed:,}"
        size = size_text(self.size)
        if self.packed is not None:
            size = f"about {size}, zipped {size_text(self.packed)}"
        return (
            f"{self.source}: {self.format} {self.iou_type}, {self.detections:,} detections on {self.images:,}{listed} "
            f"images, {size}"
        )

    def to_table(self) -> PrintedTable:
        """Return a table to print, a line per finding."""
        columns = [PrintedColumn(""), PrintedColumn("what", dim=True), PrintedColumn("count", ",", right=True)]
        table = PrintedTable([*columns, PrintedColumn("first")], styles={"": _STYLE}, lines=True)
        for finding in self.findings:
            what = "\n".join(filter(None, (finding.what, finding.remedy)))
            table.rows.append([finding.severity, what, finding.count, "\n".join(finding.examples)])
        return table


class Findings:
    """Gathers findings block by block; those of one kind are counted together."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Finding] = {}

    @property
    def has_errors(self) -> bool:
        """Whether there is an error so far."""
        return any(severity == "error" for severity, _ in self._found)

    def add(self, severity: str, what: str, count: int = 1, examples: Iterable[str] = (), remedy: str = "") -> None:
        """Add `count` cases; the first examples of a kind are kept, and its first remedy.

        Args:
            severity: "error", "warning" or "note".
            what: The kind.
            count: How many; 0 adds nothing.
            examples: Places; only as many are drawn as are kept.
            remedy: What to do.
        """
        if not count:
            return
        old = self._found.get((severity, what), Finding(severity, what, 0, (), remedy))
        room = _SHOWN - len(old.examples)
        more = tuple(example for example, _ in zip(examples, range(room), strict=False)) if room else ()
        self._found[severity, what] = replace(old, count=old.count + count, examples=old.examples + more)

    def all(self) -> tuple[Finding, ...]:
        """Return the findings, the gravest first."""
        return tuple(sorted(self._found.values(), key=lambda finding: _ORDER.index(finding.severity)))


def size_text(size: int) -> str:
    """Return a number of bytes for people."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if size >= 10**power:
            return f"{size / 10**power:.1f} {unit}"
    return f"{size} bytes"

"""The local leaderboard: entries of a split ranked by AP, with intervals; kept in a file that later entries join."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.comparison import Difference, difference_of
from evaluation.figures import figure_named, figure_of
from evaluation.ground_truth import GroundTruth
from evaluation.statistics import Interval, Replicates, fingerprint_of, interval_of
from fusion.atomic import replacing
from fusion.errors import InputError
from fusion.parquet import write_parquet
from fusion.printed_table import Cell, PrintedColumn, PrintedTable, notebook_html
from fusion.storage import part_paths

__all__ = ["Entry", "Leaderboard", "Line", "Split", "content_of", "size_of"]

_KEY = b"quorum leaderboard"
_VERSION = 1
_INTERVAL = "95 % interval"
_TO_FIRST = "to the first (95 %)"
_KEPT = ("table", "AP", _TO_FIRST, "AP50", "AP75")  # at 80 columns, too


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the entries of a leaderboard have in common; entries of another split are not comparable.

    Attributes:
        version: Of the file's layout.
        ground_truth: Fingerprint of the ground truth.
        images: Number of images.
        units: Number of things drawn: images, or groups of them.
        protocol: "coco", "lvis" or "openimages", with the options that are not the official ones behind.
        iou_type: "bbox" or "segm".
        replicates: Number of draws.
        draws: Fingerprint of the draws.
    """

    version: int = _VERSION
    ground_truth: str
    images: int
    units: int
    protocol: str
    iou_type: str
    replicates: int
    draws: str

    @classmethod
    def of(
        cls,
        truth: GroundTruth,
        *,
        protocol: str = "coco",
        iou_type: str = "bbox",
        replicates: int = 1000,
        seed: int = 0,
        groups: np.ndarray | None = None,
    ) -> "Split":
        """Describe a split; the arguments are those that its entries are measured with, see `bootstrap`."""
        images = len(truth.image_id)
        units, draws = fingerprint_of(images, groups, seed)
        return cls(
            ground_truth=truth.fingerprint,
            images=images,
            units=units,
            protocol=protocol,
            iou_type=iou_type,
            replicates=replicates,
            draws=draws,
        )


class Entry(NamedTuple):
    """One entry.

    Attributes:
        name: Of the table.
        content: SHA-256 of its files.
        detections: Number of its detections.
        size: Of its files, in bytes.
        figures: Figures by name, of `evaluation.figures`; "AP" is one of them.
        values: float64 [b], AP of the replicates, for paired differences to entries that come later.
        bounds: Lower and upper end of the intervals of other figures, where they were drawn.
    """

    name: str
    content: str
    detections: int
    size: int
    figures: dict[str, float]
    values: np.ndarray
    bounds: Mapping[str, tuple[float, float]] = MappingProxyType({})

    @classmethod
    def of(cls, name: str, path: str | os.PathLike[str], detections: int, replicates: Replicates) -> "Entry":
        """Make an entry of a measured table."""
        bounds = {name: (found.low, found.high) for name, found in replicates.intervals.items() if name != "AP"}
        size, ap = size_of(path), replicates.values["AP"]
        return cls(name, content_of(path), detections, size, dict(replicates.observed), ap, bounds)

    @property
    def measured(self) -> set[str]:
        """Figures that are known with all that can be known of them."""
        return {"AP", *self.bounds, *(name for name in self.figures if not figure_of(name).drawn)} & set(self.figures)

    def joined(self, earlier: "Entry") -> "Entry":
        """Return the entry with what was measured of the same detections earlier."""
        figures, bounds = {**earlier.figures, **self.figures}, {**earlier.bounds, **self.bounds}
        return self._replace(figures=figures, bounds=bounds)


class Line(NamedTuple):
    """One line of the board.

    Attributes:
        rank: From 1.
        entry: The entry.
        ap: Its AP with the 95 % interval.
        to_best: AP of this entry minus that of the first, with its interval.
    """

    rank: int
    entry: Entry
    ap: Interval
    to_best: Difference


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Entries of one split.

    Attributes:
        split: What they have in common.
        entries: In the order they were added.
    """

    split: Split
    entries: tuple[Entry, ...] = ()

    def __repr__(self) -> str:
        first = f"; first {self.lines[0].entry.name}, AP {self.lines[0].ap.value:.4f}" if self.entries else ""
        return f"Leaderboard({len(self.entries)} entries on {self.split.images:,} images{first})"

    def _repr_html_(self) -> str:
        return notebook_html(self, self.to_table())

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The entries by AP, highest first; equal ones by name."""
        ranked = sorted(self.entries, key=lambda entry: (-_number(entry.figures["AP"]), entry.name))
        lines = []
        for rank, entry in enumerate(ranked, 1):
            ap, units = entry.figures["AP"], self.split.units
            best = ranked[0]
            difference = difference_of(best.figures["AP"], ap, best.values, entry.values, units)
            lines.append(Line(rank, entry, interval_of(ap, entry.values, units), difference))
        return tuple(lines)

    def find(self, name: str) -> Entry | None:
        """Return the entry of a name, or None."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def with_entry(self, entry: Entry) -> "Leaderboard":
        """Return the board with an entry added, in place of one of the same name."""
        kept = tuple(other for other in self.entries if other.name != entry.name)
        return replace(self, entries=(*kept, entry))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Leaderboard":
        """Read a board that `write` wrote.

        Raises:
            InputError: If the file is none, or one of a newer version.
        """
        try:
            arrow = pq.read_table(path, page_checksum_verification=True)
            text = (arrow.schema.metadata or {})[_KEY]
            version = msgspec.json.decode(text)["version"]
        except (pa.ArrowException, OSError, KeyError, TypeError, msgspec.MsgspecError) as error:
            problem = "is no leaderboard that `quorum leaderboard -o` wrote"
            raise InputError(path, problem, "Give -o another name") from error
        if version > _VERSION:
            problem = f"is a leaderboard of version {version}, this software knows versions up to {_VERSION}"
            raise InputError(path, problem, "Update quorum-detection")
        try:
            split = msgspec.json.decode(text, type=Split)
        except msgspec.MsgspecError as error:
            raise InputError(path, f"its metadata cannot be read ({error})", "Give -o another name") from error
        entries = []
        for row in arrow.to_pylist():
            figures = {key: _number(value, np.nan) for key, value in row.items() if figure_named(key) is not None}
            missing = [key for key in figures if row[key] is None]
            figures = {key: value for key, value in figures.items() if key not in missing}
            values = np.array(row["replicate_AP"], dtype=np.float64)
            bounds = {
                key: (row[f"{key}_low"], row[f"{key}_high"])
                for key in figures
                if key != "AP" and row.get(f"{key}_low") is not None
            }
            entries.append(Entry(row["name"], row["content"], row["detections"], row["bytes"], figures, values, bounds))
        return cls(split, tuple(entries))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the board atomically, best entry first, one row each.

        Columns: rank, name, AP, AP_low, AP_high, to_best, to_best_low, to_best_high, to_best_p, the other figures (with
        F1_low, F1_high and so on where their intervals are known), detections, bytes, content (SHA-256) and
        replicate_AP (the AP of each replicate).
        """
        rows: list[dict[str, Any]] = []
        for line in self.lines:
            row = {"rank": line.rank, "name": line.entry.name, "AP": line.ap.value}
            row |= {"AP_low": line.ap.low, "AP_high": line.ap.high, "to_best": line.to_best.value}
            row |= {"to_best_low": line.to_best.low, "to_best_high": line.to_best.high, "to_best_p": line.to_best.p}
            for name in self.figures:
                row[name] = line.entry.figures.get(name)
                if any(name in entry.bounds for entry in self.entries):
                    row[f"{name}_low"], row[f"{name}_high"] = line.entry.bounds.get(name, (None, None))
            row |= {"detections": line.entry.detections, "bytes": line.entry.size, "content": line.entry.content}
            rows.append(row | {"replicate_AP": line.entry.values.tolist()})
        arrow = pa.Table.from_pylist(rows).replace_schema_metadata({_KEY: msgspec.json.encode(self.split)})
        with replacing(path) as temporary:
            write_parquet(arrow, temporary)

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures beside AP that any entry has."""
        return tuple(dict.fromkeys(name for entry in self.entries for name in entry.figures if name != "AP"))

    def to_table(self, figures: Sequence[str] | None = None) -> PrintedTable:
        """Return the board as a table to print.

        Args:
            figures: Names of those shown beside AP; all that are known by default.
        """
        split = self.split
        groups = "" if split.units == split.images else f" in {split.units:,} groups"
        title = f"{split.protocol}, {split.iou_type}, {split.images:,} images{groups}, {split.replicates:,} replicates"
        names = [name for name in (self.figures if figures is None else figures) if name != "AP"]
        bounded = {name for name in names if any(name in entry.bounds for entry in self.entries)}
        heads = ["table", "AP", _INTERVAL, _TO_FIRST]
        for name in names:
            heads += [name, _INTERVAL] if name in bounded else [name]
        columns = [
            PrintedColumn(head, right=head != "table", kept=head in _KEPT) for head in (*heads, "detections", "MB")
        ]
        table = PrintedTable(columns, title=title, bold={0})
        for line in self.lines:
            ap, gap, entry = line.ap, line.to_best, line.entry
            row: list[Cell] = [entry.name, _four(ap.value), f"{_four(ap.low)} to {_four(ap.high)}"]
            row.append("" if line.rank == 1 else f"{gap.value:+.4f} ± {gap.high - gap.value:.4f}")
            for name in names:
                figure = figure_of(name)
                row.append(figure.text(entry.figures.get(name)))
                if name in bounded:
                    low, high = entry.bounds.get(name, (None, None))
                    row.append("-" if figure.missing(low) else f"{figure.text(low)} to {figure.text(high)}")
            table.rows.append([*row, f"{entry.detections:,}", f"{entry.size / 1e6:.2f}"])
        return table

    def to_dict(self, figures: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the board, ready for JSON at full precision; None for what is not known.

        Args:
            figures: Names of those shown beside AP; all that are known by default.
        """
        names = [name for name in (self.figures if figures is None else figures) if name != "AP"]
        entries = []
        for line in self.lines:
            ap, gap, entry = line.ap, line.to_best, line.entry
            known = {name: _interval(entry.figures.get(name), entry.bounds.get(name)) for name in names}
            entries.append(
                {"rank": line.rank, "name": entry.name, "detections": entry.detections, "bytes": entry.size}
                | {"figures": {"AP": _interval(ap.value, (ap.low, ap.high)), **known}}
                | {"to_the_first": _interval(gap.value, (gap.low, gap.high)) | {"p": _none(gap.p)}}
            )
        return {"split": msgspec.to_builtins(self.split), "entries": entries}

    def to_markdown(self) -> str:
        """Return the board as a Markdown page."""
        split = self.split
        drawn = "images" if split.units == split.images else f"{split.units:,} groups of images"
        lines = [
            "# Leaderboard",
            "",
            f"{split.protocol}, {split.iou_type}, {split.images:,} images; ground truth `{split.ground_truth[:16]}`.",
            f"95 % intervals from {split.replicates:,} bootstrap replicates over {drawn}; differences to the first",
            "entry are paired: both entries are measured on the same draws.",
            "",
        ]
        return "\n".join(lines) + "\n" + self.to_table().to_markdown()


def content_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a table's files."""
    digest = hashlib.sha256()
    for part in part_paths(path):
        digest.update(hashlib.sha256(part.read_bytes()).digest())
    return digest.hexdigest()


def size_of(path: str | os.PathLike[str]) -> int:
    """Return the size of a table's files, in bytes."""
    return sum(part.stat().st_size for part in part_paths(path))


def _number(value: float | None, otherwise: float = -1.0) -> float:
    return otherwise if value is None or value != value else value


def _none(value: float | None) -> float | None:
    return None if value is None or value != value else value


def _interval(value: float | None, bounds: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = bounds or (None, None)
    return {"value": _none(value), "low": _none(low), "high": _none(high)}


def _four(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"

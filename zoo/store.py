"""The member store: a folder of members, and a folder for each with its card, weights, tables and figures.

    runs/NAME/card.md             what it is, for people
    runs/NAME/config.json         which model, which categories      (of models trained here)
    runs/NAME/run.json            how it was trained                 (of models trained here)
    runs/NAME/checkpoint-*/       weights                            (of models trained here)
    runs/NAME/origin.json         where it came from                 (of members trained elsewhere)
    runs/NAME/tables/SPLIT.parquet       its detections
    runs/NAME/figures/SPLIT.bbox.json    AP, also per category; .segm.json for masks

Several processes may write at the same time: every file is put in place by one rename, a new member by the rename of
its whole folder, and the card, which is made from the other files, under a lock.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from evaluation.belonging import check_belongs, origin_of
from evaluation.figures import names_of
from evaluation.ground_truth import GroundTruth
from evaluation.imported import is_table
from evaluation.prepared import prepare
from evaluation.protocol import Coco, Lvis
from evaluation.readings import OtherReadingError
from evaluation.results import read_results
from fusion.atomic import replacing
from fusion.errors import InputError
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata
from zoo.cards import member_card
from zoo.runs import CategoryFigure, Figures, Identity, Origin, Run, read_json, write_json

__all__ = [
    "Member",
    "add_figures",
    "check_origin",
    "find_member",
    "hash_of",
    "keep_origin",
    "list_members",
    "measure",
    "register",
    "write_card",
]


_T = TypeVar("_T")


@dataclass(frozen=True)
class Member:
    """What the store knows of a member.

    Attributes:
        folder: Its folder; the name is the folder's.
        identity: Which model it is; None for one trained elsewhere.
        run: How it was trained; None before the first stop of the training, and for one trained elsewhere.
        origin: Where it came from; None for one trained here.
        tables: Its detection tables, by split.
        figures: What has been measured, by split and kind ("bbox" or "segm").
    """

    folder: Path
    identity: Identity | None
    run: Run | None
    origin: Origin | None
    tables: dict[str, Path]
    figures: dict[tuple[str, str], Figures]

    @property
    def name(self) -> str:
        """Name of the member."""
        return self.folder.name

    @classmethod
    def read(cls, folder: Path) -> "Member":
        """Read a member's folder.

        Raises:
            InputError: If it is none.
        """
        folder = folder.resolve()
        identity = _read_if_there(folder / "config.json", Identity)
        run = _read_if_there(folder / "run.json", Run)
        origin = _read_if_there(folder / "origin.json", Origin)
        if identity is None and origin is None:
            raise InputError(
                folder,
                "is no member: it has neither config.json nor origin.json",
                "Train one (quorum train) or register one (quorum zoo register)",
            )
        figures = {}
        for path in sorted((folder / "figures").glob("*.json")):
            split, _, kind = path.stem.rpartition(".")
            figures[split, kind] = read_json(path, Figures)
        tables = {path.stem: path for path in sorted((folder / "tables").glob("*")) if not path.name.startswith(".")}
        return cls(folder, identity, run, origin, tables, figures)


def list_members(store: Path) -> list[Member]:
    """Return the members of a store by name; none when there is no such folder."""
    marks = ("config.json", "origin.json")
    folders = [path for path in sorted(store.glob("*")) if path.is_dir() and not path.name.startswith(".")]
    return [Member.read(path) for path in folders if any((path / mark).exists() for mark in marks)]


def find_member(store: Path, name: str) -> Member:
    """Return a member by its name.

    Raises:
        InputError: If the store has none of that name.
    """
    if (store / name).is_dir():
        return Member.read(store / name)
    known = [member.name for member in list_members(store)]
    raise InputError(store, f"has no member {name!r}", f"It has {', '.join(known) or 'none'}")


def register(
    store: Path,
    name: str,
    source: Path,
    *,
    truth: GroundTruth | None = None,
    split: str | None = None,
    protocol: str = "coco",
    about: str = "",
) -> Member:
    """Take in a member that was trained elsewhere, by what it finds.

    Args:
        store: Folder of the members.
        name: Of the new member.
        source: A result file of any format, or a detection table.
        truth: Ground truth of the split; ids are checked against it, and AP is measured where it has annotations.
        split: Name of the split; the source's file name when not given.
        protocol: "coco" or "lvis".
        about: A sentence for the card.

    Raises:
        InputError: If the name is taken or not usable, or the source cannot be read.
    """
    if name in ("", ".", "..") or name.startswith(".") or Path(name).name != name:
        raise InputError("option --name", f"expected a name for a folder, got {name!r}", "For example htc-x101")
    if (store / name).exists():
        raise InputError(store / name, "exists already", "Choose another name, or remove it")
    split = split or source.stem
    dataset = None if truth is None else truth.source
    metadata = Metadata(member=name, split=split, dataset=dataset, **({} if truth is None else origin_of(truth)))
    if source.suffix == ".json" or (source.is_file() and not is_table(source)):
        try:
            table = read_results(source, truth, metadata=metadata)
        except OtherReadingError as error:
            remedy = f"{error.remedy}: make a table of it with `quorum import`, and register the table"
            raise InputError(error.where, error.problem, remedy) from error
    else:
        table = read_table(source).with_metadata(member=name, split=split)
        if truth is not None:
            check_belongs(source, table.metadata, truth)
    figures = {} if truth is None else measure(table, truth, protocol)
    with replacing(store / name, folder=True) as folder:
        write_json(Origin(source=str(source.resolve()), sha256=hash_of(source), about=about), folder / "origin.json")
        write_table(table, folder / "tables" / f"{split}.parquet")
        for kind, measured in figures.items():
            write_json(measured, folder / "figures" / f"{split}.{kind}.json")
    write_card(store / name)
    return Member.read(store / name)


def keep_origin(folder: Path, origin: Origin) -> None:
    """Make a folder a member whose model came from elsewhere, or see that it is one already.

    Raises:
        InputError: If it is a member of another model.
    """
    check_origin(folder, origin.source)
    known = _read_if_there(folder / "origin.json", Origin)
    if known is not None and known.sha256 != origin.sha256:
        raise InputError(folder, f"is a member of other weights of {known.source}", "Choose another folder")
    write_json(origin, folder / "origin.json")


def check_origin(folder: Path, source: str) -> None:
    """Check that a folder may become, or is, a member that comes from a source.

    Raises:
        InputError: If it is a member of another model.
    """
    known = _read_if_there(folder / "origin.json", Origin)
    if (folder / "config.json").exists() or (known is not None and known.source != source):
        other = "a model trained here" if known is None else known.source
        raise InputError(folder, f"is a member already, of {other}", "Choose another folder")


def add_figures(folder: Path, split: str, table: DetectionTable, truth: GroundTruth | None, protocol: str) -> None:
    """Add the figures of a split to a member, measured on its table, and renew the card.

    Args:
        folder: Of the member.
        split: Name of the split.
        table: What the member found on it.
        truth: Its ground truth; None when there is none, then only the card is renewed.
        protocol: "coco" or "lvis".
    """
    for kind, measured in ({} if truth is None else measure(table, truth, protocol)).items():
        write_json(measured, folder / "figures" / f"{split}.{kind}.json")
    write_card(folder)


def measure(table: DetectionTable, truth: GroundTruth, protocol: str) -> dict[str, Figures]:
    """Measure a table by boxes, and by masks where it and the ground truth have some; nothing without annotations."""
    if not len(truth.annotation_id):
        return {}
    both = table.mask is not None and truth.segmentation is not None
    found = {}
    for kind in ("bbox", "segm") if both else ("bbox",):
        options = Lvis(iou_type=kind) if protocol == "lvis" else Coco(iou_type=kind)
        result = prepare(truth, options).evaluate(table)
        found[kind] = Figures(
            ground_truth=truth.fingerprint,
            images=len(truth.image_id),
            detections=len(table),
            protocol=protocol,
            stats={n: float(v) for n, v in result.figures(names_of(options)).items() if v == v},
            categories=tuple(
                CategoryFigure(category_id=int(row.category_id), name=row.name, AP=None if row.AP != row.AP else row.AP)
                for row in result.per_category
            ),
        )
    return found


def write_card(folder: Path) -> None:
    """Write `card.md` anew from what is in a member's folder; the last of several writers has seen everything."""
    with _locked(folder):
        text = member_card(Member.read(folder))
        with replacing(folder / "card.md") as temporary:
            temporary.write_text(text, encoding="utf-8")


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, or of the files of a folder."""
    digest = hashlib.sha256()
    for part in sorted(path.iterdir()) if path.is_dir() else [path]:
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _read_if_there(path: Path, kind: type[_T]) -> _T | None:
    return read_json(path, kind) if path.exists() else None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system gives it back when a process dies."""
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

"""Fusing tables on disk: whole files at once, folders of parts one part at a time."""

import hashlib
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusion import one_part
from fusion.atomic import keep_inputs
from fusion.engines import Engine, engine_of
from fusion.errors import InputError, Warned, option
from fusion.one_part import PartTask, fuse_in_pieces, key_of, key_of_inputs, make_part, named_as, signed
from fusion.places import Remote, place_of
from fusion.recipe import Recipe
from fusion.reparting import repart
from fusion.row_groups import highest_score, rows_of, scores_of
from fusion.run import settle
from fusion.score_scales import scale_notes
from fusion.shards import Shard
from fusion.steps.correct_boxes import CorrectBoxes
from fusion.storage import BY_ID, image_ids_of, part_name, part_paths, read_metadata, read_table, write_table
from fusion.table import DetectionTable, Part
from fusion.unfinished import others, put_in_place, stands, whole, work_folder

__all__ = ["FuseReport", "fuse_files", "named"]

_AS_GIVEN = "as given"
"""The rule of parts that follow folders whose own rule is not known."""


@dataclass(frozen=True)
class FuseReport:
    """What a fusion of files did.

    Attributes:
        detections_in: Rows of all inputs.
        detections_out: Rows written.
        notes: What a user should know: parts taken from an interrupted run, tables that were not used.
    """

    detections_in: int
    detections_out: int
    notes: tuple[str, ...]


def fuse_files(
    recipe: Recipe,
    tables: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    progress: Callable[[str, int, int], None] | None = None,
    *,
    device: str = "cpu",
    note: Callable[[str], None] | None = None,
    shard: Shard | None = None,
    member: str | None = None,
    workers: int | None = None,
    executor: str | None = None,
) -> FuseReport:
    """Run a recipe on tables on disk and write the fused table.

    When every table is a folder with the same number of parts, one part of each is in memory at a
    time and the output is such a folder. Tables of unequal numbers of parts are cut alike first, unless the output's
    name ends in .parquet, which is one file. Any number of processes may make one output: each takes the
    parts that no other is at, and whoever sees them all puts them in place. An interrupted run leaves
    its finished parts in `<output>.<key>.unfinished`, where the key is the recipe's; the same call takes up those
    whose inputs have not changed.

    Args:
        recipe: The steps.
        tables: Parquet files or folders of parts.
        output: A file, or a folder where the inputs are folders.
        progress: Called with (what, done, total) before each node or part.
        device: "cpu", "cuda", or "auto" for the GPU where there is one; a note says where there is none.
        note: Called with each note as soon as it is known: what scores are like before any work is done.
        shard: Make only this share of the parts; whoever makes the last of all puts the output in place.
        member: The output is one member of this name, for fusing further; rows no longer tell where they came from.
        workers: Number of processes on this machine that make parts; each has its share of the threads.
        executor: Let a cluster make the parts, whose workers see the same files and have this package:
            dask://HOST:PORT of a Dask scheduler, or ray://HOST:PORT of a Ray cluster's client server.

    Raises:
        InputError: If a table cannot be read, they do not go together, the output cannot be written, or the device
            cannot be used.
    """
    if not tables:
        raise InputError("fuse", "no table was given")
    engine = engine_of(workers, executor)
    output = place_of(output)
    keep_inputs({"output": output}, [place_of(table) for table in tables])
    said = [read_metadata(table)[0] for table in tables]  # what cannot be read is said before work begins
    device, notes = settle(device, [node.step for node in recipe.nodes.values()])
    progress, tell = progress or _silent, _Notes(note)
    tell(*notes)
    names = [metadata.member or Path(table).stem for metadata, table in zip(said, tables, strict=True)]
    parts = [part_paths(table) for table in tables]
    counts = {len(paths) for paths in parts}
    if len(counts) == 1 and all(place_of(table).is_dir() for table in tables):
        rule = _check_partitioning(parts)
        return _fuse_parts(recipe, names, parts, output, rule, progress, device, tell, shard, member, engine)
    if shard is not None:
        problem = "is of the parts of folders that are cut alike, and these tables are not"
        raise InputError(f"option {option('shard')}", problem, "Cut them with `quorum repart`")
    if counts != {1} and output.suffix != ".parquet":
        return _fuse_recut(recipe, names, tables, output, progress, device, tell, member, engine)
    if engine is not None:
        problem = "makes a folder part by part, and this output is one file"
        remedy = "Cut the tables with `quorum repart`, and name an output without .parquet"
        raise InputError(f"option {option('workers' if executor is None else 'executor')}", problem, remedy)
    if counts != {1}:
        tell(
            f"all of the tables are in memory at once, as {output.name} is to be one file; an output without .parquet"
            " is a folder, which is made part by part"
        )
    inputs = [named_as(read_table(table), name) for table, name in zip(tables, names, strict=True)]
    steps = list(recipe.nodes)
    tell(*_unsketched(inputs), *scale_notes(recipe, inputs), *_still_masks(recipe, inputs))
    fused = fuse_in_pieces(recipe, inputs, device, lambda name: progress(name, steps.index(name), len(steps)))
    write_table(signed(fused, recipe, member), output)
    tell(*_unused(recipe, names), *_above_one(_over(fused), any(map(_over, inputs))))
    return FuseReport(sum(map(len, inputs)), len(fused), tuple(tell.lines))


class _Notes:
    """Notes so far; each is passed on as soon as it is known."""

    def __init__(self, note: Callable[[str], None] | None) -> None:
        self.lines: list[str] = []
        self._note = note

    def __call__(self, *lines: str) -> None:
        for line in lines:
            self.lines.append(line)
            if self._note is not None:
                self._note(line)


def _silent(what: str, done: int, total: int) -> None:
    """Report nothing."""


def named(table: DetectionTable, path: str | os.PathLike[str]) -> DetectionTable:
    """Give a table without a name the name of its file."""
    return named_as(table, Path(path).stem)


def _fuse_parts(
    recipe: Recipe,
    names: Sequence[str],
    parts: Sequence[Sequence[Path]],
    output: Path,
    rule: str,
    progress: Callable[[str, int, int], None],
    device: str,
    tell: _Notes,
    shard: Shard | None = None,
    member: str | None = None,
    engine: Engine | None = None,
) -> FuseReport:
    """Fuse folders that are cut alike; other processes may do so at the same time."""
    count = len(parts[0])
    run = hashlib.sha256("\0".join([recipe.to_toml(), str(count), *filter(None, [member])]).encode()).hexdigest()
    keys = [key_of_inputs(run, names, paths) for paths in zip(*parts, strict=True)]
    if stands(output) and not whole(output, keys):
        raise InputError(output, "exists already, and a folder is not overwritten", "Remove it or choose another name")
    largest = [
        named_as(read_table(max(paths, key=rows_of), columns=_looked_at(recipe)), name)
        for paths, name in zip(parts, names, strict=True)
    ]
    tell(*_unsketched(largest), *scale_notes(recipe, largest), *_still_masks(recipe, largest))
    del largest
    tell(*(f"{path} holds finished parts of another run, which were left alone" for path in others(output, run)))
    own = (shard or Shard(0, 1)).of(count)
    work, before = work_folder(output, run), 0
    if not stands(output):
        tasks = [
            PartTask(
                recipe, tuple(names), tuple(paths[number].absolute() for paths in parts),
                Part(rule=rule, count=count, number=number), keys[number], device, work.absolute(), member,
            )
            for number in own
        ]  # fmt: skip
        work.mkdir(parents=True, exist_ok=True)
        try:
            before = sum(key_of(task.work / part_name(task.part.number)) == task.key for task in tasks)
            for done, _ in enumerate((engine or _one_by_one)(make_part, tasks), 1):
                progress(f"{done} of {len(own)} parts", done, len(own))
        except (FileNotFoundError, InputError):
            if not whole(output, keys):
                raise
    if shard is None or _all_there(work, keys):
        put_in_place(work, output, keys)
    if not whole(output, keys):
        tell(f"{len(own)} of {count} parts are done; whoever makes the last of the others puts the output in place")
        rows = sum(rows_of(paths[number]) for paths in parts for number in own)
        return FuseReport(rows, sum(_rows_made(work, output, number) for number in own), tuple(tell.lines))
    written = [output / part_name(number) for number in range(count)]
    above = _over_in(written)
    given = bool(above[0]) and any(_over_in(paths)[0] for paths in parts)
    tell(*_unused(recipe, names), *_above_one(above, given))
    if before:
        tell(f"{before} of {count} parts were there already, of an interrupted run or of another process")
    return FuseReport(sum(map(rows_of, itertools.chain(*parts))), sum(map(rows_of, written)), tuple(tell.lines))


def _rows_made(work: Path, output: Path, number: int) -> int:
    """Return the rows of a finished part, which another process may put in place meanwhile."""
    try:
        return rows_of(work / part_name(number))
    except (FileNotFoundError, InputError):
        return rows_of(output / part_name(number))


def _one_by_one(_: Callable[[PartTask], None], tasks: Sequence[PartTask]) -> Iterator[int]:
    """Make parts in this process, those first that no other process is at."""
    left = list(range(len(tasks)))
    while left:
        waiting = []
        for number in left:
            if tasks[number].make():
                yield number
            else:
                waiting.append(number)
        if len(waiting) == len(left):
            time.sleep(one_part.PAUSE)
        left = waiting


def _fuse_recut(
    recipe: Recipe,
    names: Sequence[str],
    tables: Sequence[str | os.PathLike[str]],
    output: Path,
    progress: Callable[[str, int, int], None],
    device: str,
    tell: _Notes,
    member: str | None,
    engine: Engine | None,
) -> FuseReport:
    """Cut tables of unequal numbers of parts as the one of most parts is, and fuse them part by part."""
    told = [read_metadata(part_paths(table)[0])[0].part for table in tables]
    count = max(len(part_paths(table)) for table in tables)
    alike = [part is not None and (part.rule, part.count) == (BY_ID, count) for part in told]
    recut = [name for name, same in zip(names, alike, strict=True) if not same]
    tell(f"{', '.join(recut)}: cut into {count} parts first, beside the output; `quorum repart` does so for good")
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = None if isinstance(output, Remote) else output.parent
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", suffix=".inputs", dir=beside) as folder:
        parts = []
        for number, (table, same) in enumerate(zip(tables, alike, strict=True)):
            place = place_of(table) if same else Path(folder) / str(number)
            if not same:
                repart(table, place, count)
            parts.append(part_paths(place))
        return _fuse_parts(recipe, names, parts, output, BY_ID, progress, device, tell, member=member, engine=engine)


def _all_there(work: Path, keys: Sequence[str]) -> bool:
    """Tell whether all parts wait to be put in place; another process may do so meanwhile."""
    try:
        return all(key_of(work / part_name(number)) == key for number, key in enumerate(keys))
    except InputError:
        if work.exists():
            raise
        return False


def _looked_at(recipe: Recipe) -> tuple[str, ...]:
    """Return the optional columns that notes are made of before work begins."""
    return ("member", "mask") if _moves_boxes(recipe) else ("member",)


def _unsketched(inputs: Sequence[DetectionTable]) -> tuple[str, ...]:
    names = [str(table.metadata.member) for table in inputs if table.metadata.images is None]
    if len(inputs) < 2 or not names:
        return ()
    say = "says" if len(names) == 1 else "say"
    return (
        Warned(
            f"{', '.join(names)} {say} nothing of the images behind (imported without ground truth, or by an earlier "
            "version): whether these tables are of one data set was not checked"
        ),
    )


def _still_masks(recipe: Recipe, inputs: Sequence[DetectionTable]) -> tuple[str, ...]:
    """Note where boxes leave their masks behind."""
    if not _moves_boxes(recipe):
        return ()
    if not any(table.mask is not None and table.mask.null_count < len(table) for table in inputs):
        return ()
    return (f"boxes are corrected, masks stay where they are; {option('masks', 'shift')} moves them with their boxes",)


def _moves_boxes(recipe: Recipe) -> bool:
    """Tell whether boxes are moved, and not their masks."""
    keep = [
        node.step for node in recipe.nodes.values() if isinstance(node.step, CorrectBoxes) and node.step.masks == "keep"
    ]
    return any(correction.moves for step in keep for correction in step.corrections.values())


def _over(table: DetectionTable) -> tuple[int, float] | None:
    """Number of scores above 1, and the largest; None where there is none."""
    score = table.score
    count = int((score > 1).sum())
    return (count, float(score.max())) if count else None


def _over_in(paths: Iterable[Path]) -> tuple[int, float]:
    """Number of scores above 1 in files, and the largest; scores are read where a file has such alone."""
    scores = [scores_of(path) for path in paths if highest_score(path) > 1]
    above = np.concatenate([np.zeros(0), *(score[score > 1] for score in scores)])
    return len(above), float(above.max(initial=0.0))


def _above_one(over: tuple[int, float] | None, given: bool) -> tuple[str, ...]:
    if over is None or not over[0]:
        return ()
    why = "as some of the inputs' are"
    if not given:
        bounded = option("conf_type", "box_and_model_avg")
        why = f"since each of a member's boxes counts; WBF with {bounded} stays within the inputs' range"
    return (f"{over[0]:,} scores are above 1, the largest {over[1]:.4g}, {why}",)


def _check_partitioning(parts: Sequence[Sequence[Path]]) -> str:
    """Require that an image is in the same part of every folder; return the rule by which images are dealt.

    Raises:
        InputError: If an image is in parts of different numbers.
    """
    told = {read_metadata(path)[0].part for paths in parts for path in paths}
    rules = {_AS_GIVEN if part is None else part.rule for part in told}
    if rules == {BY_ID}:
        return BY_ID  # whoever reads a part requires its images to be there by their ids
    owner: dict[int | str, tuple[int, Path]] = {}
    for paths in parts:
        for number, path in enumerate(paths):
            for image in image_ids_of(path).tolist():
                first, place = owner.setdefault(image, (number, path))
                if first != number:
                    raise InputError(
                        f"folders {place.parent} and {path.parent}",
                        f"are cut into parts in different ways: image {image!r} is in {place.name} and in {path.name}",
                        "Cut both alike with `quorum repart`",
                    )
    return rules.pop() if len(rules) == 1 else _AS_GIVEN


def _unused(recipe: Recipe, names: Sequence[str]) -> tuple[str, ...]:
    used = {source for node in recipe.nodes.values() for source in node.inputs}
    names = [name for name in names if name not in used]
    if "*" in used or not names:
        return ()
    return (f"the recipe does not use {', '.join(names)}",)

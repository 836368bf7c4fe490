"""Command `quorum leaderboard`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from evaluation.cli.compare import replicated
from evaluation.cli.figure_options import USUAL, FigureOptions
from evaluation.cli.image_lists import named_slices, read_groups
from evaluation.cli.members import short_names, some_tables
from evaluation.cli.output import Form, Html
from evaluation.cli.protocols import OFFICIAL, IouType, ProtocolName, ProtocolOptions, protocol_of
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, prepared_truth
from fusion.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from evaluation.leaderboard import Leaderboard, Split
    from evaluation.measured import Measured

__all__ = ["leaderboard"]


def leaderboard(
    *tables: Path,
    ground_truth: GroundTruthFile,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    iou_type: IouType = "bbox",
    protocol: ProtocolName = "coco",
    options: ProtocolOptions = OFFICIAL,
    groups: Path | None = None,
    replicates: int = 1000,
    seed: int = 0,
    images: Path | None = None,
    slices: str | None = None,
    open_images: OpenImagesFiles = NO_FILES,
    figures: FigureOptions = USUAL,
    as_format: Form = "text",
    html: Html = None,
) -> None:
    """Rank tables by AP, with intervals from a paired bootstrap over images.

    Args:
        tables: Parquet files, folders of parts, or result files of any format.
        ground_truth: Annotations of any format (docs/formats.md).
        output: Keep the board as OUTPUT.parquet and OUTPUT.md; entries that are there already are kept, and only
            new or changed tables are measured.
        iou_type: Boxes or masks.
        protocol: Which official evaluation.
        options: Of the protocol, where they are not to be the official ones.
        groups: A CSV file with columns image_id and group: images of one group (a video) are drawn together.
        replicates: Number of draws.
        seed: Of the draws.
        images: Measure only these images: a text file with an id per line.
        slices: Named subsets of the images to measure as well: a CSV file with the columns image and name, or a field
            of the images in the ground truth, such as camera.
        open_images: What goes with a CSV file as ground truth.
        figures: Figures to show beside AP, by which entries are ranked; those that are named have an interval as well.
        as_format: text for people, a Markdown or HTML table, or a JSON object.
        html: Write one HTML page as well, with tables to sort and, of what is measured now, curves; `quorum report`
            has more.
    """
    from evaluation.leaderboard import Entry, Leaderboard, Split, content_of
    from evaluation.slice_boards import boards_of, boards_table
    from fusion.atomic import replacing
    from fusion.printed_table import print_json, print_table
    from fusion.terminal import notes, stderr

    some_tables(tables, "leaderboard")
    chosen = protocol_of(protocol, iou_type, options)
    wanted = figures.names(chosen, "entries")
    truth, prepared = prepared_truth(ground_truth, chosen, images, open_images)
    labels = None if groups is None else read_groups(groups, truth)
    measure = f"{protocol} {options}".strip()
    split = Split.of(truth, protocol=measure, iou_type=iou_type, replicates=replicates, seed=seed, groups=labels)
    board = Leaderboard(split)
    parquet, page = (None, None) if output is None else _files(output)
    if parquet is not None and parquet.exists():
        board = Leaderboard.read(parquet)
        _check_same(board.split, split, parquet)
    parts = named_slices(slices, truth, images)
    results: dict[str, Measured] = {}
    by_slice = {} if parts is None else boards_of(parts, truth, split, seed=seed, groups=labels)
    names = dict(zip(tables, short_names(tables), strict=True))
    for path, name in names.items():
        earlier = board.find(name)
        same = earlier is not None and earlier.content == content_of(path)
        if parts is None and earlier is not None and same and not set(wanted or ()) - earlier.measured:
            stderr.print(f"{path}: is on the board already", highlight=False)
            continue
        drawn = ("AP",) if wanted is None else None
        measured = replicated(
            path, truth, prepared, images,
            replicates=replicates, seed=seed, groups=labels, figures=wanted, drawn=drawn, slices=parts,
        )  # fmt: skip
        results[name] = measured.result
        new = Entry.of(name, path, measured.detections, measured.entry)
        if earlier is not None and same:
            new = new.joined(earlier)
        elif earlier is not None:
            notes(path, ["replaces the entry of this name, whose detections were others"])
        board = board.with_entry(new)
        for part, found in measured.by_slice.items():
            own = measured.detections_by_slice[part]
            by_slice[part] = by_slice[part].with_entry(Entry.of(name, path, own, found))
    for path, sentence in _against_inputs(board, names):
        notes(path, [sentence])
    if parquet is not None and page is not None:
        board.write(parquet)
        with replacing(page) as temporary:
            text = board.to_markdown()
            text += f"\n## By slice\n\n{boards_table(by_slice).to_markdown()}" if by_slice else ""
            temporary.write_text(text, encoding="utf-8")
    if html is not None:
        from evaluation.report import Material, Page, sections_of

        material = Material(board=board, results=results, slices=parts, figures=wanted)
        subject = f"{measure}, {iou_type}, {split.images:,} images of {ground_truth.name}."
        Page("Leaderboard", subject, sections_of(material)).write(html)
    if as_format == "json":
        own_boards = {part: one.to_dict(wanted) for part, one in by_slice.items()}
        print_json(board.to_dict(wanted) | ({"slices": own_boards} if own_boards else {}))
        return
    print_table(board.to_table(wanted), as_format)
    if by_slice:
        print_table(boards_table(by_slice, wanted), as_format)


def _against_inputs(board: "Leaderboard", names: "Mapping[Path, str]") -> "Iterator[tuple[Path, str]]":
    """Say of each fused table whether it is better than the best of its inputs, of those given beside it."""
    from evaluation.cli.against_best import against_best

    entries = {path: board.find(name) for path, name in names.items()}
    inputs = {path: _inputs(path) for path in names}
    for path, (_, taken) in inputs.items():
        if taken is None:
            continue
        given = [entries[one] for one, (own, of) in inputs.items() if of is None and ("*" in taken or own in taken)]
        known = [entry for entry in given if entry is not None]
        fused = entries[path]
        if known and fused is not None:
            yield path, against_best(fused, known, board.split.units)


def _inputs(path: Path) -> tuple[str, set[str] | None]:
    """Return the name of a table, and the names of what its recipe takes; None for one that no recipe made."""
    import tomllib

    from fusion.storage import read_metadata

    said = read_metadata(path)[0]
    recipe = said.made_by.get("recipe")
    if recipe is None:
        return said.member or path.stem, None
    nodes = tomllib.loads(str(recipe)).get("nodes", {})
    return said.member or path.stem, {one for node in nodes.values() for one in node["inputs"]} - set(nodes)


def _files(output: Path) -> tuple[Path, Path]:
    stem = output.with_suffix("") if output.suffix in (".parquet", ".md") else output
    return stem.with_name(stem.name + ".parquet"), stem.with_name(stem.name + ".md")


def _check_same(saved: "Split", asked: "Split", path: Path) -> None:
    """Refuse to mix what cannot be compared.

    Raises:
        InputError: If ground truth, protocol, kind or draws differ.
    """
    sentences = {
        "ground_truth": "another ground truth or choice of images",
        "protocol": f"protocol {saved.protocol}, not {asked.protocol}",
        "iou_type": f"iou type {saved.iou_type}, not {asked.iou_type}",
        "replicates": f"{saved.replicates:,} replicates, not {asked.replicates:,}",
        "draws": "another seed or other groups",
    }
    for field, sentence in sentences.items():
        if getattr(saved, field) != getattr(asked, field):
            raise InputError(
                path, f"the entries of this leaderboard are of {sentence}", "Use the same, or give -o another name"
            )

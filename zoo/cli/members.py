"""Commands `quorum zoo ...`: the variants, and the members of the store."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from evaluation.cli.output import Html
from fusion.errors import InputError
from fusion.printed_table import PrintedTable, print_json, print_table
from fusion.terminal import notes, stderr, stdout
from zoo.cli.common import Output, Scale, Store, missing_packages, need_torch, tell_figures
from zoo.registry import Variant, find, variants

if TYPE_CHECKING:
    from zoo.runs import TrainedAlike
    from zoo.store import Member

__all__ = ["zoo_average", "zoo_convert", "zoo_list", "zoo_register", "zoo_show"]


def zoo_list(*, report: str | None = None, ensemble: str | None = None, store: Store = Path("runs")) -> None:
    """List the variants, by report, and the members of the store.

    Args:
        report: Only variants of reports whose name has this in it.
        ensemble: Instead the trainings that a report fuses, variants, settings, data and seeds: mmfruit-28.
        store: Folder of the members.
    """
    from zoo.cards import variant_of
    from zoo.store import list_members

    if ensemble is not None:
        print_table(_trainings(ensemble))
        return
    members = list_members(store)
    table = PrintedTable.of(("variant", "report", "table", "row", "AP reported", "trained here"), ())
    for variant in variants().values():
        if report is not None and report not in (variant.report or ""):
            continue
        own = [member.name for member in members if variant_of(member) == variant.name]
        reported = next(iter(variant.reported.values()), None) if variant.reported else None
        table.rows.append(
            [
                variant.name,
                variant.report or "",
                str(variant.table or ""),
                str(variant.row or ""),
                "" if reported is None else f"{reported:g}",
                ", ".join(own),
            ]
        )
    print_table(table)
    if members:
        board = PrintedTable.of(("member", "variant", "split", "by", "AP measured"), ())
        for member in members:
            variant_name = member.identity.variant if member.identity else "registered"
            rows = [(s, k, f"{100 * f.stats['AP']:.2f}") for (s, k), f in member.figures.items()] or [("", "", "")]
            board.rows += [[member.name, variant_name, *row] for row in rows]
        print_table(board)


def _trainings(ensemble: str) -> PrintedTable:
    """Return a list of trainings as a table."""
    from zoo.ensembles import find_ensemble

    names = ("model", "variant", "seed", "group", "data", "settings", "said by the report")
    table = PrintedTable.of(names, ())
    for one in find_ensemble(ensemble):
        settings = " ".join(f"{field}={value}" for field, value in one.settings)
        table.rows.append([one.number, one.variant, str(one.seed), one.group, one.data, settings, one.stated])
    return table


def zoo_show(
    name: str,
    /,
    *,
    scale: Scale = "full",
    store: Store = Path("runs"),
    as_format: Annotated[Literal["text", "json"], Parameter(name="--format")] = "text",
    figures: str | None = None,
    html: Html = None,
) -> None:
    """Show the card of a variant or of a member of the store.

    Args:
        name: A variant, or a member.
        scale: Of a variant's configuration.
        store: Folder of the members.
        as_format: text for the card; json for a variant's configuration, which `quorum train` takes too.
        figures: What to show of what was measured: names with commas between, such as AP,AP50,F1.
        html: Write the card as one HTML page as well, of a member with every category.
    """
    from zoo.cards import member_card, variant_card
    from zoo.store import list_members

    members = {member.name: member for member in list_members(store)}
    known: Variant | None = variants().get(name)
    if as_format == "json":
        print_json(find(name).make(scale).to_dict())
        return
    names = None if figures is None else _measured_names(figures, [*members.values()])
    console = stdout()
    cards = []
    if known is not None:
        cards.append(variant_card(known, list(members.values()), _groups(known), names))
    if name in members:
        cards.append(member_card(members[name], names))
    for card in cards:
        console.print(card, markup=False, highlight=False, soft_wrap=True)
    if known is None and name not in members:
        find(name)  # its error names what comes close
    elif html is not None:
        from zoo.card_page import card_page

        card_page(cards[-1], members.get(name)).write(html)


def zoo_register(
    results: Path,
    /,
    *,
    name: str,
    ground_truth: Annotated[Path | None, Parameter(name=("--ground-truth", "-g"))] = None,
    split: str | None = None,
    protocol: Literal["coco", "lvis"] = "coco",
    about: str = "",
    store: Store = Path("runs"),
) -> None:
    """Take a member that was trained elsewhere into the store, by what it finds.

    Args:
        results: A result file of any format, or a detection table.
        name: Of the member.
        ground_truth: Annotations, to check ids against and to measure AP.
        split: Name of the split; the name of the results when not given.
        protocol: Which official evaluation.
        about: A sentence for its card.
        store: Folder of the members.
    """
    from evaluation.annotations import read_ground_truth
    from zoo.store import register

    truth = None if ground_truth is None else read_ground_truth(ground_truth)
    if truth is not None:
        notes(ground_truth, truth.notes)
    member = register(store, name, results, truth=truth, split=split, protocol=protocol, about=about)
    tell_figures(member.folder, split or results.stem)


def zoo_average(
    *weights: Path,
    output: Output,
) -> None:
    """Average the weights of several checkpoints or epochs of one training, uniformly.

    Args:
        weights: Safetensors files, or folders of trainings.
        output: A folder like that of a training, ready for `quorum predict`.
    """
    need_torch("zoo average")
    from zoo.checkpoint import average, load_weights, save_weights
    from zoo.runs import Identity, read_json, write_json
    from zoo.store import write_card

    if not weights:
        raise InputError("zoo average", "no weights were given", "Name runs/x/epoch-009.safetensors and others")
    if (output / "config.json").exists():
        raise InputError(output, "holds a model", "Choose another folder, or remove it")
    homes = [path if path.is_dir() else path.parent for path in weights]
    home = next((path for path in (homes[-1], homes[-1].parent) if (path / "config.json").exists()), homes[-1])
    identity = read_json(home / "config.json", Identity)
    mean = average([load_weights(path) for path in weights])
    save_weights(mean, output / "checkpoint-average" / "model.safetensors", {"average of": " ".join(map(str, weights))})
    write_json(identity, output / "config.json")
    write_card(output)
    stderr.print(f"{output}: the mean of {len(weights)} sets of weights", highlight=False)


def zoo_convert(
    weights: Path,
    /,
    *,
    output: Output,
    source: Annotated[str | None, Parameter(name="--from")] = None,
    target: Annotated[str | None, Parameter(name="--to")] = None,
    order_of: str | None = None,
) -> None:
    """Rename the weights of other people's models, for train.init_from; or those of a model of the zoo for theirs.

    No code in the file is run: of .pth and .pt files tensors are read alone.

    Args:
        weights: A .pth, .pt or .safetensors file; with --to also the folder of a training.
        output: With --from a .safetensors file, with --to a .pth file.
        source: What the weights are from: torchvision, timm, mmdet or detectron2.
        target: What they are to be for.
        order_of: With --from timm, its network whose entries these are, in the same order under other names.
    """
    need_torch("zoo convert")
    import torch

    from fusion.atomic import replacing
    from fusion.coco_results.vocabulary import examples
    from zoo.checkpoint import load_weights, save_weights
    from zoo.conversion import converted, converted_back, renamed_in_order
    from zoo.nn.backbones import names_in_order
    from zoo.store import hash_of
    from zoo.weights_files import read_weights

    if (source is None) == (target is None):
        raise InputError("zoo convert", "expected one of --from and --to", "For example --from torchvision")
    expected = ".safetensors" if target is None else ".pth"
    if output.suffix != expected:
        raise InputError("option --output", f"expected a name that ends with {expected}, got {output.name!r}")
    if source is not None:
        given = read_weights(weights)
        if order_of is not None and source != "timm":
            raise InputError("option --order-of", f"names a network of timm, and --from is {source}", "Leave it out")
        if order_of is not None:
            given = renamed_in_order(given, names_in_order(order_of))
        done = converted(given, source, hash_of(weights))
        save_weights(done.weights, output, {"converted from": source})
    else:
        done = converted_back(load_weights(weights), str(target))
        with replacing(output) as temporary:
            torch.save(done.weights, temporary)
    left = [name for name in done.left if not name.endswith(("num_batches_tracked", "passes"))]
    said = f"{output}: {len(done.weights)} tensors"
    for what, names in (("reshaped or reordered", list(done.changed)), ("left out", left)):
        said += f", {len(names)} {what}" + (f": {examples(names)}" if names else "")
    stderr.print(said, highlight=False, markup=False)
    if done.about:
        notes(weights, [done.about])


def _measured_names(text: str, members: Sequence["Member"]) -> tuple[str, ...]:
    """Return the names of figures that were measured of any member.

    Raises:
        InputError: If one was not.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    there = list(dict.fromkeys(name for m in members for figures in m.figures.values() for name in figures.stats))
    for name in names or ("none",):
        if name not in there:
            problem = f"expected figures that were measured, got {name!r}"
            raise InputError("option --figures", problem, f"There are {', '.join(there) or 'none yet'}")
    return names


def _groups(variant: Variant) -> "tuple[TrainedAlike, ...]":
    """Count what a variant learns at full scale, without making the numbers; nothing without PyTorch."""
    if missing_packages():
        return ()
    from zoo.models import build
    from zoo.optimizer import trained_alike

    config = variant.make()
    return trained_alike(build(config, 80, device="meta"), config.train)

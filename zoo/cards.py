"""Cards: what a variant or a member is and what is known of it, as Markdown.

What the authors of a report state and what was measured here stand in tables of their own, never in one column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from evaluation.figures import FIGURES, figure_of
from fusion.printed_table import PrintedTable
from zoo.config import AnyModel, Train, diff, read_model
from zoo.registry import Variant, variants
from zoo.runs import TrainedAlike

if TYPE_CHECKING:
    from zoo.store import Member

__all__ = ["member_card", "variant_card", "variant_of"]

_EXTREMES = 5


def variant_card(
    variant: Variant,
    members: Sequence[Member] = (),
    groups: Sequence[TrainedAlike] = (),
    figures: Sequence[str] | None = None,
) -> str:
    """Return the card of a variant.

    Args:
        variant: Of the registry.
        members: The members of a store; those trained from this variant are shown.
        groups: Its parameters at full scale, if they have been counted.
        figures: Names of what is shown of what was measured; by default those that entries are compared by.
    """
    model = variant.make()
    lines = [f"# {variant.name}", "", _origin(variant)]
    if groups:
        parameters = sum(group.parameters for group in groups if group.rate > 0)
        lines += ["", f"{parameters:,} trained parameters at full scale, with 80 categories."]
    if variant.boxes_from is not None:
        lines += [
            "",
            f"Its boxes are those of `{variant.boxes_from}`: "
            f"`quorum predict runs/{variant.name} --data SPEC --boxes BOXES.parquet -o MASKS.parquet`.",
        ]
    lines += ["", *_reported(variant)]
    own = [member for member in members if variant_of(member) == variant.name]
    if own:
        lines += ["", "## Trained here", "", *_measured(own, figures)]
    lines += ["", "## Settings that are not the defaults", "", *_settings(model)]
    if groups:
        lines += ["", "## Groups of parameters", "", *_groups(groups, model.train)]
    lines += ["", f"Train it: `quorum train {variant.name} --data SPEC -o runs/{variant.name}`"]
    return "\n".join(lines) + "\n"


def member_card(member: Member, figures: Sequence[str] | None = None) -> str:
    """Return the card of a member of the store.

    Args:
        member: Of the store.
        figures: Names of what is shown of what was measured; by default those that entries are compared by.
    """
    lines = [f"# {member.name}", ""]
    known = variants().get(variant_of(member))
    if member.origin is not None:
        lines += [f"Registered from `{member.origin.source}`, trained elsewhere. {member.origin.about}".rstrip()]
    elif member.identity is not None and known is None:
        lines += [f"Variant `{member.identity.variant}`, which is not in the registry."]
    elif known is not None and member.identity is not None:
        scale = member.identity.variant.partition(":")[2]
        lines += [f"Variant `{known.name}`{f', {scale}' if scale else ''}: {_origin(known)}"]
    if member.run is not None:
        lines += ["", "## Training", "", *_training(member)]
    if member.run is not None and member.run.groups:
        settings = None if member.identity is None else read_model(member.identity.model).train
        lines += ["", "## Groups of parameters", "", *_groups(member.run.groups, settings)]
    if member.figures:
        lines += ["", "## Measured here", "", *_measured([member], figures), *_categories(member)]
    if known is not None and known.reported:
        lines += ["", *_reported(known)]
    if member.identity is not None:
        model = read_model(member.identity.model)
        base = type(model)() if known is None else known.make()
        lines += ["", f"## Settings that differ from {'the defaults' if known is None else known.name}", ""]
        lines += _settings(model, base)
    if member.tables:
        lines += ["", "## Tables", "", *(f"- `tables/{path.name}`" for path in member.tables.values())]
    return "\n".join(lines) + "\n"


def variant_of(member: Member) -> str:
    """Return the name of the variant that a member was trained from, "" for one registered."""
    return "" if member.identity is None else member.identity.variant.partition(":")[0]


def _origin(variant: Variant) -> str:
    row = f", table {variant.table}, row {variant.row}" if variant.table else ""
    place = f"{variant.report}{row}." if variant.report else ""
    if variant.parent is not None:
        place += f" From `{variant.parent}` by a change of {', '.join(f'`{name}`' for name in variant.changes)}."
    return f"{place} {variant.note}".strip()


def _reported(variant: Variant) -> list[str]:
    if not variant.reported:
        return []
    heading = f"## Reported by the authors of {variant.report}, not reproduced"
    return [heading, "", *_table(list(variant.reported), [[f"{value:g}" for value in variant.reported.values()]])]


def _measured(members: Iterable[Member], names: Sequence[str] | None) -> list[str]:
    found = [(member, key, figures) for member in members for key, figures in member.figures.items()]
    if not found:
        return ["No run has been measured yet."]
    usual = dict.fromkeys(figure.name for figure in FIGURES if "entries" in figure.places)
    known = [name for name in usual if any(name in figures.stats for *_, figures in found)]
    shown = [figure_of(name) for name in (known if names is None else names)]
    rows = []
    for member, (split, kind), figures in found:
        values = [(figure, figures.stats.get(figure.name)) for figure in shown]
        cells = ["" if figure.missing(value) else figure.points(value) for figure, value in values]
        rows.append([member.name, split, kind, f"{figures.images:,}", *cells])
    return _table(["member", "split", "by", "images", *(figure.name for figure in shown)], rows)


def _categories(member: Member) -> list[str]:
    lines = []
    for (split, kind), figures in member.figures.items():
        known = sorted((row for row in figures.categories if row.AP is not None), key=lambda row: -(row.AP or 0.0))
        if len(known) < 2:
            continue
        ends = known if len(known) <= 2 * _EXTREMES else [*known[:_EXTREMES], *known[-_EXTREMES:]]
        text = ", ".join(f"{row.name} {100 * (row.AP or 0.0):.1f}" for row in ends)
        kept = f"`figures/{split}.{kind}.json`"
        lines += ["", f"Best and worst of {len(known)} categories on {split} ({kind}; all in {kept}): {text}."]
    return lines


def _training(member: Member) -> list[str]:
    run = member.run
    if run is None:
        return []
    state = "to its end" if run.finished else f"so far {run.step:,} of {run.steps:,} steps"
    where = " ".join(name for name in (run.dataset, run.split) if name)
    facts: Mapping[str, Any] = {
        "data": f"{where}, {run.images:,} images (fingerprint {run.data[:16]})",
        "schedule": f"{run.step:,} steps, {run.epochs:.2f} epochs, {state}",
        "time": f"{timedelta(seconds=round(run.seconds))} on {run.processes} x {run.device}",
        "trained parameters": f"{run.parameters:,}",
        "last losses": ", ".join(f"{name} {value:.4g}" for name, value in run.losses.items()),
        "seed": run.seed,
        "versions": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
        "code": run.source,
    }
    return [*(f"- {name}: {value}" for name, value in facts.items()), *(f"- note: {note}" for note in run.notes)]


def _groups(groups: Sequence[TrainedAlike], settings: Train | None) -> list[str]:
    """Return a table of what is trained alike, with the rate in steps of the configured batch."""
    base = None if settings is None else settings.learning_rate * settings.batch / settings.reference_batch
    rows = []
    for group in groups:
        frozen = group.rate == 0
        rate = "not trained" if frozen else f"{group.rate:g} x" + ("" if base is None else f" = {group.rate * base:g}")
        decay = "" if frozen else f"{group.weight_decay:g}"
        rows.append([group.what, f"{group.tensors:,}", f"{group.parameters:,}", rate, decay])
    name = "" if settings is None else f" ({'AdamW' if settings.optimizer == 'adamw' else 'SGD'})"
    return _table(["group", "tensors", "parameters", f"rate{name}", "weight decay"], rows)


def _settings(model: AnyModel, base: AnyModel | None = None) -> list[str]:
    changes = diff(base or type(model)(), model)
    if not changes:
        return ["None."]
    return [f"- `{name}` = `{new!r}`" for name, (_, new) in changes.items()]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return PrintedTable.of(header, rows).to_markdown().splitlines()

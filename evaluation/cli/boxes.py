"""Command `quorum learn boxes`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from evaluation.cli.groups import groups_of
from evaluation.cli.members import read_member, some_tables
from evaluation.cli.output import Output
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, read_truth
from fusion.errors import InputError

__all__ = ["learn_boxes"]


def learn_boxes(
    *tables: Path,
    ground_truth: GroundTruthFile,
    output: Output,
    form: Literal["best", "constant", "size"] = "best",
    position: Annotated[bool, Parameter(negative="")] = False,
    images: Path | None = None,
    groups: Path | None = None,
    open_images: OpenImagesFiles = NO_FILES,
) -> None:
    """Learn where members draw the sides of boxes otherwise than the annotators did.

    Args:
        tables: One table per member.
        ground_truth: Annotations of the split to learn on.
        output: A TOML file for `quorum fuse --boxes` and `--box-weights`, or for a recipe's correct_boxes step and the
            box_weights of its wbf, nmw and vote.
        form: On what the shift of a side depends: constant: on nothing; size: on width and height; best: what leaves
            the smallest distances on images held back, which may be no shift at all.
        position: Let it depend on the place in the image as well. It then learns the scene: for fixed cameras only.
        images: Learn only on these images: a text file with an id per line.
        groups: A CSV file with columns image_id and group: images of one group (a video, a day) are held back
            together. Taken from the file names, if they tell, when not given.
        open_images: What goes with a CSV file as ground truth.
    """
    from evaluation.box_corrections import correction_of, pair_boxes
    from evaluation.learning import tuned_on
    from fusion.learned import write_learned
    from fusion.printed_table import PrintedTable, print_table
    from fusion.terminal import announcing_compilation, stderr

    if position and form != "best":
        raise InputError("option --position", f"and --form {form} were both given", "Give one of them")
    truth = read_truth(ground_truth, images, open_images)
    labels = groups_of(truth, groups, "learn boxes")
    corrections, before = {}, {}
    with announcing_compilation():
        for path in some_tables(tables, "learn boxes"):
            member = read_member(path, truth, images)
            name = str(member.metadata.member)
            if name in corrections:
                raise InputError("learn boxes", f"two tables are of member {name!r}", "Rename one with --member")
            pairs = pair_boxes(member, truth, labels)
            before[name] = pairs.spread
            corrections[name] = correction_of(pairs, "position" if position else form)
    write_learned(output, "corrections", corrections, tuned_on(truth, "corrections of boxes"))
    rows = [
        [name, one.form, *(f"{100 * sum(of) / 4:.1f} %" if of else None for of in (before[name], one.spread))]
        for name, one in corrections.items()
    ]
    print_table(PrintedTable.of(("member", "shift by", "sides are off by", "then by"), rows, left=2), "text")
    stderr.print(f"{output}: corrections of {len(corrections)} members", highlight=False)

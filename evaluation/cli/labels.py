"""Command `quorum labels`."""

from pathlib import Path
from typing import Literal

from evaluation.cli.members import read_member, some_tables
from evaluation.cli.output import Output
from evaluation.cli.truth import GroundTruthFile, read_truth
from fusion.checks import within

__all__ = ["labels"]


def labels(
    *tables: Path,
    ground_truth: GroundTruthFile,
    output: Output,
    score: float = 0.1,
    protocol: Literal["coco", "lvis"] = "coco",
    images: Path | None = None,
) -> None:
    """List likely label errors of ground truth, by what several members agree on, to be checked by a person.

    Missing labels, labels that nobody finds, other categories and loose boxes. Boxes are compared. Members say most
    that were not trained on these annotations.

    Args:
        tables: Members' tables: Parquet files or folders of parts.
        ground_truth: COCO or LVIS annotations, or any other that `quorum import` knows.
        output: The list, the likeliest first: .csv, or .json for ground truth in COCO's form whose annotations are the
            suspects.
        score: Leave out those with a lower score; from 0 to 1.
        protocol: Which official evaluation decides what is judged at all.
        images: Look at these images only: a text file with an id per line, as `quorum split` writes.
    """
    from evaluation.label_errors import find_label_errors
    from evaluation.protocol import Coco, Lvis
    from evaluation.suspects import check_ending
    from fusion.printed_table import print_table
    from fusion.terminal import announcing_compilation, notes, stderr

    paths = some_tables(tables, "labels")
    within("score", score, 0, 1)
    check_ending(output)
    truth = read_truth(ground_truth, images)
    members = [read_member(path, truth, images) for path in paths]
    with announcing_compilation():
        found = find_label_errors(members, truth, Lvis() if protocol == "lvis" else Coco()).only(least=score)
    found.write(output)
    if len(members) == 1:
        notes(output, ["one member has nobody to agree with; two or more say much more"])
    print_table(found.to_table())
    stderr.print(f"{output}: {len(found):,} suspects", highlight=False)

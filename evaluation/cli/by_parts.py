"""Folders measured part by part at the command line."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.errors import InputError, option

if TYPE_CHECKING:
    from evaluation.ground_truth import GroundTruth
    from evaluation.open_images import PreparedOpenImages
    from evaluation.open_images_stored import StoredOpenImagesResult
    from evaluation.prepared import Prepared
    from evaluation.stored import StoredResult
    from fusion.shards import Shard

__all__ = ["evaluate_by_parts"]


def evaluate_by_parts(
    path: Path,
    truth: "GroundTruth",
    prepared: "Prepared | PreparedOpenImages",
    images: Path | None,
    shard: "Shard | None" = None,
) -> "StoredResult | StoredOpenImagesResult | None":
    """Evaluate a folder of parts with a few parts in memory at a time.

    Args:
        path: A table on disk.
        truth: Ground truth of the images that are measured.
        prepared: The same, prepared.
        images: Whether the user chose images.
        shard: Match only this share of the parts.

    Returns:
        None where the table is one file.

    Raises:
        SharesLeft: If others have not matched all of their parts.
        InputError: As the evaluation of the whole table.
    """
    from evaluation.belonging import check_belongs
    from evaluation.open_images import PreparedOpenImages
    from evaluation.stored import evaluate_stored
    from fusion.storage import part_paths, read_metadata
    from fusion.terminal import notes, progress_bar

    if len(part_paths(path)) == 1:
        if shard is not None:
            remedy = "Cut it with `quorum repart`"
            raise InputError(f"option {option('shard')}", f"is of the parts of a folder, and {path} is one", remedy)
        return None
    notes(path, check_belongs(path, read_metadata(path)[0], truth))
    evaluate = (
        prepared.evaluate_parts if isinstance(prepared, PreparedOpenImages) else partial(evaluate_stored, prepared)
    )
    with progress_bar() as bar:
        task = bar.add_task(path.name, total=None)
        return evaluate(
            path,
            lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
            images=None if images is None else truth.image_id,
            shard=shard,
        )

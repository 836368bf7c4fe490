"""Ground truth at the command line: its files, and the images that are chosen of it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from evaluation.cli.image_lists import read_image_list
from fusion.errors import InputError, Warned

if TYPE_CHECKING:
    from evaluation.ground_truth import GroundTruth
    from evaluation.open_images import PreparedOpenImages
    from evaluation.prepared import Prepared
    from evaluation.protocol import Coco, Lvis, OpenImages

__all__ = ["NO_FILES", "GroundTruthFile", "OpenImagesFiles", "listed", "prepared_truth", "read_truth"]

GroundTruthFile = Annotated[Path, Parameter(name=("--ground-truth", "-g"), allow_leading_hyphen=True)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OpenImagesFiles:
    """What goes with a CSV file of Open Images boxes as ground truth.

    Attributes:
        image_labels: CSV of verified labels.
        class_descriptions: CSV of labels and names.
        hierarchy: JSON class tree, for files that are not expanded yet.
        masks: CSV of masks.
        mask_folder: Folder of PNG files that the masks' CSV names.
    """

    image_labels: Path | None = None
    class_descriptions: Path | None = None
    hierarchy: Path | None = None
    masks: Path | None = None
    mask_folder: Path | None = None

    @property
    def given(self) -> dict[str, Path]:
        """The files that there are, by what they are."""
        files = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: file for name, file in files if file is not None}


NO_FILES = OpenImagesFiles()


def read_truth(path: Path, images: Path | None, files: OpenImagesFiles = NO_FILES) -> "GroundTruth":
    """Read ground truth, of the listed images only if there is a list; what is unusual is printed.

    Args:
        path: Annotations of any format.
        images: A text file with an image id per line.
        files: What goes with the CSV file.
    """
    from evaluation.annotations import read_ground_truth
    from fusion.terminal import notes

    truth = read_ground_truth(path, files.given)
    notes(path, truth.notes)
    if images is not None:
        truth = listed(truth, images)
    if not len(truth):
        notes(path, [Warned("there are no annotations, and nothing can be measured without")])
    return truth


def listed(truth: "GroundTruth", images: Path) -> "GroundTruth":
    """Return the ground truth of the images that a text file names, an id a line."""
    wanted = read_image_list(images, truth)
    try:
        return truth.subset(wanted)
    except InputError as error:
        raise InputError(images, f"{error.where}: {error.problem}", "List images of this ground truth") from error


def prepared_truth(
    path: Path, protocol: "Coco | Lvis | OpenImages", images: Path | None, files: OpenImagesFiles = NO_FILES
) -> "tuple[GroundTruth, Prepared | PreparedOpenImages]":
    """Read ground truth as `read_truth` does and make it ready for a protocol."""
    from evaluation.prepared import prepare

    truth = read_truth(path, images, files)
    return truth, prepare(truth, protocol)

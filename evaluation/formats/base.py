"""What a format can do."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from evaluation.files.look import Look
from evaluation.files.table_pieces import TablePieces
from evaluation.ground_truth import GroundTruth
from fusion.coco_results import RawResults, Reading, Vocabulary
from fusion.table import DetectionTable

__all__ = ["Format", "Progress"]

Progress = Callable[[int, int], None]


class Format:
    """A format of detections and annotations; a subclass has the methods of what it can do.

    Attributes:
        title: What it is, in a few words.
    """

    title: ClassVar[str]

    @property
    def name(self) -> str:
        """The name of its file."""
        return type(self).__module__.rpartition(".")[2]

    def has(self, name: str) -> bool:
        """Tell whether the format can do something: "results", "truth", "write", "take" or "give"."""
        return getattr(type(self), name) is not getattr(Format, name)

    def recognises(self, look: Look) -> int:
        """Tell whether a file or folder is in this format: 0 no, 1 by its form, 2 by its name as well."""
        return 0

    def results(
        self, path: Path, vocabulary: Vocabulary | None, reading: Reading, progress: Progress | None
    ) -> RawResults:
        """Read detections, as they stand.

        Args:
            path: The file or folder; "-" is standard input.
            vocabulary: What the ground truth knows; for formats that need the sizes of images.
            reading: How image ids are joined, for the same.
            progress: Called with what was read so far and in all.

        Raises:
            InputError: If it cannot be read; the file and the line or record are named.
        """
        raise NotImplementedError

    def truth(self, path: Path, files: Mapping[str, Path]) -> GroundTruth:
        """Read annotations.

        Args:
            path: The file or folder.
            files: What goes with it, by option: Open Images' class descriptions and so on.

        Raises:
            InputError: If it cannot be read; the file and the entry are named.
        """
        raise NotImplementedError

    def write(self, table: TablePieces, path: Path, truth: GroundTruth | None) -> list[str]:
        """Write a table, with some rows in memory at a time.

        Args:
            table: What to write.
            path: The file or folder.
            truth: Names and sizes of images and names of categories.

        Returns:
            What was left out or rounded.

        Raises:
            InputError: If the format cannot carry it, or what it needs of the ground truth is not given.
        """
        raise NotImplementedError

    def take(self, objects: Any) -> RawResults | None:
        """Read detections from objects of Python; None where these are of another kind."""
        raise NotImplementedError

    def give(self, table: DetectionTable, truth: GroundTruth | None) -> Any:
        """Return a table as objects of Python."""
        raise NotImplementedError

"""Memory of commands on tables of growing size: `python benchmarks/bounded_memory.py [--images 2500 5000]`.

A load of 200 detections per image is imported from a COCO file, evaluated and exported, as a whole and in parts of
250,000 rows. Each line is a process of its own: CPU seconds, and the peak of memory above that with libraries and
kernels. Replicates are 64 of AP; matches are found anew, but for those that are read again.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.coco_evaluation import dataset
from benchmarks.load import evaluation_load
from benchmarks.measure import memory_kilobytes
from evaluation import Coco, OpenImages, prepare, read_coco
from evaluation.analysis import analyze_parts, analyze_table
from evaluation.results import deal_results, read_results, write_results
from evaluation.stored import evaluate_stored
from fusion import DetectionTable
from fusion.coco_results import raw, write_coco_results
from fusion.storage import part_paths, read_table, write_table

PER_IMAGE, PART = 200, 250_000


def parts_of(folder: Path) -> int:
    """Return the number of parts of a load."""
    return len(part_paths(folder / "m"))


def make(folder: Path, images: int) -> None:
    """Write a load as JSON, as a table and as a folder, and its ground truth."""
    folder.mkdir()
    load = evaluation_load(images, images * PER_IMAGE)
    (folder / "truth.json").write_text(json.dumps(dataset(load)))
    table = DetectionTable.from_arrays(
        image_id=load.image, category_id=load.category, score=load.score, xywh=load.box
    ).with_metadata(member="m")
    write_table(table, folder / "m.parquet")
    write_table(table, folder / "m", parts=max(2, len(table) // PART))
    write_coco_results(table, folder / "m.json")


def fresh(place: Path) -> Path:
    """Return the folder of a load without the matches that were kept."""
    shutil.rmtree(place / "m" / ".quorum", ignore_errors=True)
    return place / "m"


def drawn(result: Any) -> Any:
    """Draw replicates."""
    return result.resample(
        np.random.default_rng(0).multinomial(result.images, [1 / result.images] * result.images, 64), ["AP"]
    )


def dealt(place: Path) -> None:
    """Import into parts."""
    deal_results(place / "m.json", None, output=place / "parts", parts=parts_of(place))


def yolo(place: Path) -> None:
    """Write a file per image."""
    write_results(place / "m", place / "yolo", "yolo", read_coco(place / "truth.json"))


ACTS: dict[str, Callable[[Path, Any], Any]] = {
    "evaluate the whole": lambda place, truth: truth.evaluate(read_table(place / "m.parquet")).stats,
    "evaluate by parts": lambda place, truth: evaluate_stored(truth, fresh(place)).stats,
    "read matches again": lambda place, truth: evaluate_stored(truth, place / "m").stats,
    "F1 of parts": lambda place, truth: evaluate_stored(truth, place / "m").F1,
    "analyze the whole": lambda place, truth: analyze_table(read_table(place / "m.parquet"), truth),
    "analyze parts": lambda place, truth: analyze_parts(place / "m", truth),
    "Open Images, whole": lambda place, truth: drawn(truth.evaluate(read_table(place / "m.parquet"))),
    "Open Images, parts": lambda place, truth: drawn(truth.evaluate_parts(fresh(place))),
    "import a table": lambda place, _: write_table(read_results(place / "m.json", None), place / "a table.out"),
    "import parts": lambda place, _: deal_results(
        place / "m.json", None, output=place / "parts", parts=parts_of(place)
    ),
    "export the whole": lambda place, _: write_results(read_table(place / "m.parquet"), place / "w.csv", "csv"),
    "export parts, csv": lambda place, _: write_results(place / "m", place / "p.csv", "csv"),
    "export parts, yolo": lambda place, _: write_results(
        place / "m", place / "yolo", "yolo", read_coco(place / "truth.json")
    ),
}


def run(what: str, folder: Path, images: int) -> None:
    """Do one thing to a small load and then to this one, and print what the latter took."""
    few = folder.parent / "few"
    raw._IN_MEMORY = PART
    protocol = OpenImages() if "Open Images" in what else Coco()
    evaluates = what.startswith(("evaluate", "read", "F1", "analyze", "Open"))
    truths = [prepare(read_coco(place / "truth.json"), protocol) if evaluates else None for place in (few, folder)]
    ACTS[what](few, truths[0])
    shutil.rmtree(few / "yolo", ignore_errors=True)
    shutil.rmtree(few / "parts", ignore_errors=True)
    with Path("/proc/self/clear_refs").open("w") as reset:
        reset.write("5")  # VmHWM begins anew
    base, cpu = memory_kilobytes("VmRSS"), time.process_time()
    ACTS[what](folder, truths[1])
    cpu = time.process_time() - cpu
    above = (memory_kilobytes("VmHWM") - base) / 1024
    rows = images * PER_IMAGE / 1e6
    print(
        f"{what:20} {rows:5.2f} M rows, {parts_of(folder):2} parts: {cpu / rows:5.2f} CPU s per M; {above:6.0f} MB",
        flush=True,
    )


def main() -> None:
    """Make the loads, then do everything to each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[2500, 5000, 10000])
    parser.add_argument("--only", nargs="+", default=list(ACTS), help="what is done, by the first words of its lines")
    parser.add_argument("--phase", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.phase:
        what, folder, images = given.phase
        return run(what, Path(folder), int(images))
    with tempfile.TemporaryDirectory() as place:
        make(Path(place) / "few", 20)
        for images in given.images:
            folder = Path(place) / str(images)
            make(folder, images)
            for what in (act for act in ACTS if act.startswith(tuple(given.only))):
                environment = os.environ | {"TMPDIR": place}
                arguments = [what, str(folder), str(images)]
                subprocess.run([sys.executable, __file__, "--phase", *arguments], check=True, env=environment)
    return None


if __name__ == "__main__":
    main()

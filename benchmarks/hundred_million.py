"""A job beyond one machine's memory, in small steps: `python benchmarks/hundred_million.py FOLDER [--share 0.01]`.

1.7 million images, 500 categories and four simulated members with about 25 million detections each, in 64 parts; one
COCO file with LVIS's fields is ground truth for all three protocols. Members' weights and calibration are learned, they
are fused by MMfruit's recipe, what comes out is measured by each protocol, and all are ranked with intervals. Each step
is a process of its own, of which wall and CPU time and the peak of memory are kept in FOLDER/steps.json: what is there
is not done again, so that a run that was stopped goes on. `--share` makes that share of the images.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fusion import DetectionTable
from fusion.atomic import replacing
from fusion.storage import part_name, part_of, write_table
from fusion.table import Metadata, Part
from zoo.synthetic.simulated import Annotations, Scenario, Skill, simulate

ROOT = Path(__file__).resolve().parents[1]
IMAGES, CATEGORIES, PARTS = 1_700_000, 500, 64
ABSENT = 8  # categories that are said to be absent from an image
SKILLS = (
    Skill(name="even", recall=0.86, separation=2.6, localisation=0.06, clutter=10.6),
    Skill(name="sharp", recall=0.8, localisation=0.05, clutter=10.9, temperature=2),
    Skill(name="eager", recall=0.9, separation=2.2, localisation=0.08, clutter=10.0, duplicates=0.3, temperature=0.5),
    Skill(name="loose", recall=0.84, localisation=0.1, clutter=10.7, shift=1),
)


def make(folder: Path, share: float) -> None:
    """Write the members as folders of parts, and the ground truth, part by part."""
    ids = np.arange(1, round(IMAGES * share) + 1)
    number = part_of(ids, PARTS)
    pieces = folder / "pieces"
    for part in range(PARTS):
        if (pieces / f"annotations-{part}").exists():
            continue
        own = ids[number == part]
        scenario = Scenario(images=len(own), categories=CATEGORIES, objects=4.0, distractors=12.0)
        made = simulate(scenario, SKILLS, seed=part)
        for found in made.members:
            table = DetectionTable.from_arrays(
                image_id=own[found.image_id - 1],
                category_id=found.category_id,
                score=found.score,
                xywh=found.xywh,
                metadata=Metadata(dataset="simulated", member=found.skill.name),
            )
            place = folder / found.skill.name / part_name(part)
            write_table(table, place, part=Part(rule="id", count=PARTS, number=part))
        write_truth(pieces, part, own, made.annotations)
    with replacing(folder / "truth.json") as path, path.open("wb") as file:
        thirds = np.arange(1, CATEGORIES + 1) * 3 // (CATEGORIES + 1)
        categories = [{"id": i + 1, "name": f"c{i + 1}", "frequency": "fcr"[k]} for i, k in enumerate(thirds)]
        file.write(b'{"categories": ' + msgspec.json.encode(categories))
        for what in ("images", "annotations"):
            file.write(b', "%s": [' % what.encode())
            for part in range(PARTS):
                file.write(b"," if part else b"")
                with (pieces / f"{what}-{part}").open("rb") as piece:
                    shutil.copyfileobj(piece, file)
            file.write(b"]")
        file.write(b"}")
    shutil.rmtree(pieces)


def write_truth(pieces: Path, part: int, own: np.ndarray, truth: Annotations) -> None:
    """Write the images and annotations of a part, without the brackets around."""
    rng = np.random.default_rng(part)
    drawn = rng.integers(1, CATEGORIES + 1, (len(own), ABSENT))
    start = np.searchsorted(truth.image_id, np.arange(1, len(own) + 2))
    images: list[dict[str, Any]] = []
    for i, (image, absent) in enumerate(zip(own.tolist(), drawn.tolist(), strict=True)):
        there = set(truth.category_id[start[i] : start[i + 1]].tolist())
        negative = sorted(set(absent) - there)
        partial = sorted(there)[: image % 10 == 0]
        images.append(
            {"id": image, "width": 640, "height": 480, "file_name": f"{image}.jpg", "neg_category_ids": negative}
            | {"not_exhaustive_category_ids": partial}
        )
    columns = (own[truth.image_id - 1], truth.category_id, truth.xywh, truth.area, truth.crowd.astype(int))
    annotations = [
        {"id": (row << 6) + part + 1, "image_id": image, "category_id": category, "bbox": box, "area": area}
        | {"iscrowd": crowd}
        for row, (image, category, box, area, crowd) in enumerate(zip(*(c.tolist() for c in columns), strict=True))
    ]
    for what, rows in (("images", images), ("annotations", annotations)):
        with replacing(pieces / f"{what}-{part}") as path:
            path.write_bytes(msgspec.json.encode(rows)[1:-1])


def steps_of(folder: Path, replicates: int) -> dict[str, list[str]]:
    """Return the command of each step, in order."""
    members = [str(folder / skill.name) for skill in SKILLS]
    truth = ["-g", str(folder / "truth.json")]
    fused, weights, maps = (str(folder / name) for name in ("fused", "weights.toml", "maps.toml"))
    evaluations = {
        f"evaluate, {name}": ["evaluate", fused, *truth, "--protocol", name, "--no-per-category"]
        for name in ("coco", "lvis", "openimages")
    }
    return {
        "learn weights": ["learn", "weights", *members, *truth, "-o", weights],
        "fuse": ["fuse", *members, "--recipe", "mmfruit-naive", "--weights", weights, "-o", fused],
        **evaluations,
        "learn calibration": ["learn", "calibration", *members, *truth, "-o", maps],
        "leaderboard": ["leaderboard", *members, fused, *truth, "--replicates", str(replicates)],
    }


def measured(command: list[str], log: Path) -> dict[str, float]:
    """Run a command; return its wall and CPU seconds and its peak of memory in MB."""
    begin = time.perf_counter()
    with log.open("wb") as out:
        child = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}:\n{log.read_text()[-4000:]}")
    return {
        "wall": time.perf_counter() - begin,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss / 1024,
    }


def main() -> None:
    """Do what is not done yet, and print the table of all steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    folder = given.folder.resolve()
    if given.make:
        return make(folder, given.share)
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "steps.json"
    done = json.loads(record.read_text()) if record.exists() else {}
    making = [sys.executable, __file__, str(folder), "--share", str(given.share), "--make"]
    quorum = [sys.executable, "-m", "quorum"]
    steps = {"make": making} | {name: [*quorum, *rest] for name, rest in steps_of(folder, given.replicates).items()}
    print("| step | wall s | CPU s | peak MB |\n|---|---|---|---|")
    for name, command in steps.items():
        if name not in done:
            done[name] = measured(command, folder / f"{name.replace(', ', '-').replace(' ', '-')}.log")
            with replacing(record) as path:
                path.write_text(json.dumps(done, indent=1))
        print("| {} | {wall:,.0f} | {cpu:,.0f} | {peak:,.0f} |".format(name, **done[name]), flush=True)
    return None


if __name__ == "__main__":
    main()

"""What the comparison with the ground truth adds to `quorum import`: CPU time with it and without, in one run.

    python benchmarks/importing.py [--detections 500000]

The file is a good detector's: a tenth of its boxes lie on objects. The last line is of boxes that agree under no
reading, for which all readings are tried.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import quorum
from benchmarks.measure import cpu

PER_IMAGE, OBJECTS = 100, 7


def write_files(folder: Path, detections: int) -> None:
    """Write gt.json, good.json and nothing.json, seeded."""
    rng = np.random.default_rng(0)
    images = detections // PER_IMAGE
    boxes = np.hstack((rng.random((images * OBJECTS, 2)) * (500, 350), 20 + rng.random((images * OBJECTS, 2)) * 110))
    ids = np.arange(images) * 7 + 139
    category = rng.integers(1, 81, len(boxes))
    truth = {
        "images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480} for i in ids.tolist()],
        "categories": [{"id": c, "name": f"category {c}"} for c in range(1, 81)],
        "annotations": [
            {"id": n + 1, "image_id": i, "category_id": c, "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
            for n, (i, c, b) in enumerate(
                zip(np.repeat(ids, OBJECTS).tolist(), category.tolist(), boxes.round(2).tolist(), strict=True)
            )
        ],
    }
    (folder / "gt.json").write_text(json.dumps(truth))
    for name, found in (("good", OBJECTS), ("nothing", 0)):
        records = []
        for place, image in enumerate(ids.tolist()):
            own = slice(place * OBJECTS, place * OBJECTS + found)
            near = boxes[own] + rng.normal(size=(found, 4)) * 2
            far = np.hstack((rng.random((PER_IMAGE - found, 2)) * 500, 1 + rng.random((PER_IMAGE - found, 2)) * 9))
            score = np.concatenate((0.5 + rng.random(found) / 2, rng.random(PER_IMAGE - found) / 2))
            labels = np.concatenate((category[own], rng.integers(1, 81, PER_IMAGE - found)))
            columns = (np.vstack((near, far)).round(2).tolist(), score.round(4).tolist(), labels.tolist())
            records += [
                {"image_id": image, "category_id": c, "bbox": b, "score": s} for b, s, c in zip(*columns, strict=True)
            ]
        (folder / f"{name}.json").write_text(json.dumps(records))


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--detections", type=int, default=500_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, options.detections)

        def imported(file: str, *more: str) -> float:
            command = ["import", f"{name}/{file}.json", "-g", f"{name}/gt.json", "-o", f"{name}/t.parquet"]
            return cpu(lambda: quorum.main([*command, *more]), 7)

        imported("good")  # compiles
        plain = imported("good", "--as-is")
        for file in ("good", "nothing"):
            print(f"{file:8s} {imported(file):.3f} s, without the comparison {plain:.3f} s")


if __name__ == "__main__":
    main()

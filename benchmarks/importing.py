"""What `quorum import` takes: with the comparison with the ground truth and without, and of each format; in one run.

    python benchmarks/importing.py [--detections 500000]

The file is a good detector's: a tenth of its boxes lie on objects. The last line is of boxes that agree under no
reading, for which all readings are tried. Then the same detections in each format, as a factor on COCO's JSON.
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


def write_formats(folder: Path) -> dict[str, Path]:
    """Write the detections of good.json in all formats, each with its usual number of files; return where."""
    table, truth = str(folder / "good.parquet"), str(folder / "gt.json")
    quorum.main(["import", str(folder / "good.json"), "-g", truth, "-o", table])
    found = {}
    for name, suffix in (("csv", ".csv"), ("mot", ".txt"), ("yolo", ""), ("kitti", ""), ("voc", "")):
        found[name] = folder / f"good-{name}{suffix}"
        quorum.main(["export", name, table, "-g", truth, "-o", str(found[name])])
    records = json.loads((folder / "good.json").read_text())
    strings: dict[int, list[str]] = {}
    lines: dict[str, list[str]] = {}
    labels: dict[str, list[str]] = {}
    shapes: dict[str, list[dict[str, object]]] = {}
    for r in records:
        (x, y, w, h), c, s, image = r["bbox"], r["category_id"], r["score"], f"{r['image_id']:012d}"
        box = f"{x} {y} {x + w} {y + h}"
        strings.setdefault(r["image_id"], []).append(f"{c} {s} {box}")
        lines.setdefault(f"comp4/comp4_det_test_category {c}.txt", []).append(f"{image} {s} {box}\n")
        labels.setdefault(f"scored/{image}.txt", []).append(f"{c} {s} {box}\n")
        points = [[x, y], [x + w, y + h]]
        one = {"label": f"category {c}", "score": s, "points": points, "shape_type": "rectangle"}
        shapes.setdefault(f"labelme/{image}.json", []).append(one)
    for name in ("comp4", "scored", "labelme"):
        found[name] = folder / name
        found[name].mkdir()
    for file, text in (lines | labels).items():
        (folder / file).write_text("".join(text))
    for file, own in shapes.items():
        (folder / file).write_text(json.dumps({"shapes": own}))
    found["kaggle"] = folder / "kaggle.csv"
    rows = "".join(f"{image},{' '.join(text)}\n" for image, text in strings.items())
    found["kaggle"].write_text("image_id,PredictionString\n" + rows)
    return found


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--detections", type=int, default=500_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, options.detections)

        def imported(file: Path, *more: str) -> float:
            command = ["import", str(file), "-g", f"{name}/gt.json", "-o", f"{name}/t.parquet"]
            return cpu(lambda: quorum.main([*command, *more]), 5)

        imported(folder / "good.json")  # compiles
        plain = imported(folder / "good.json", "--as-is")
        for file in ("good", "nothing"):
            print(f"{file:8s} {imported(folder / f'{file}.json'):.3f} s, without the comparison {plain:.3f} s")
        for form, path in write_formats(folder).items():
            took, coco = imported(path, "--format", form), imported(folder / "good.json")
            print(f"{form:8s} {took:.3f} s, {took / coco:.2f} of COCO's {coco:.3f} s")


if __name__ == "__main__":
    main()

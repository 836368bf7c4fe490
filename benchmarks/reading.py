"""COCO results JSON: detections per CPU second, read and written, beside the standard library; and peak memory.

    python benchmarks/reading.py [--detections 200000]

"json" is `json.loads` of the whole file plus NumPy arrays of its fields, and `json.dumps` of a list of
dictionaries that is there already. Memory is measured in child processes: what a process needs at
its peak beyond what it needed for a tiny file, for files of one and four times the size, without
and with the table itself (4 x must not need more than 1 x beyond the table).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pycocotools import mask as mask_codec

from fusion.coco_results import read_coco_results, write_coco_results

KINDS = ("float32 digits", "two decimals", "short masks", "long masks")


def make_file(path: Path, detections: int, kind: str) -> None:
    """Write a seeded results file, 20 detections an image, in the way `json.dump` does."""
    rng = np.random.default_rng(0)
    box = rng.random((detections, 4)).astype(np.float32).astype(float) * 512
    score = rng.random(detections).astype(np.float32).astype(float)
    if kind == "two decimals":
        box, score = box.round(2), score.round(3)
    image = np.arange(detections) // 20 * 7 + 139
    category = rng.integers(1, 91, detections)
    masks = [_mask(rng, wavy=kind == "long masks") for _ in range(200)] if "masks" in kind else []
    with path.open("w") as file:
        for low in range(0, detections, 10000):
            part = slice(low, low + 10000)
            columns = (image[part].tolist(), category[part].tolist(), box[part].tolist(), score[part].tolist())
            records: list[dict[str, Any]] = [
                {"image_id": i, "category_id": c, "bbox": b, "score": s} for i, c, b, s in zip(*columns, strict=True)
            ]
            for number, record in enumerate(records if masks else []):
                record["segmentation"] = masks[number % len(masks)]
            file.write(("," if low else "[") + json.dumps(records)[1:-1])
        file.write("]")


def _mask(rng: np.random.Generator, *, wavy: bool) -> dict[str, Any]:
    """A disc of about 200 bytes, or one with a wavy outline of about 1.1 kB."""
    y, x = np.mgrid[:480, :640]
    wave = 40 + 20 * np.sin(np.arctan2(y - 240, x - 320) * rng.integers(3, 20)) if wavy else np.full((480, 640), -25.0)
    inside = (y - 240) ** 2 + (x - 320) ** 2 < (wave + rng.integers(0, 100)) ** 2
    mask = mask_codec.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {"size": [480, 640], "counts": mask["counts"].decode()}


def library(path: Path) -> list[dict[str, Any]]:
    """Read as most scripts do: the whole file, then arrays."""
    records: list[dict[str, Any]] = json.loads(path.read_bytes())
    np.array([r["image_id"] for r in records])
    np.array([r["category_id"] for r in records], np.int32)
    np.array([r["score"] for r in records])
    np.array([r["bbox"] for r in records], float)
    if "segmentation" in records[0]:
        np.array([r["segmentation"]["size"] for r in records], np.int32)
        pa.array([r["segmentation"]["counts"] for r in records]).cast(pa.binary())
    return records


def cpu_seconds(call: Callable[[], object], rounds: int = 3) -> float:
    """Return the CPU time of the best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.process_time()
        call()
        best = min(best, time.process_time() - begin)
    return best


def peak(path: Path) -> tuple[float, float]:
    """Return peak memory of a child that reads a file, and the size of the table, both in MB."""
    text = subprocess.run(
        [sys.executable, __file__, "--read", str(path)], capture_output=True, text=True, check=True
    ).stdout
    high, table = text.split()
    return float(high), float(table)


def high_water() -> int:
    """Return the most bytes this process has had in memory; `ru_maxrss` would include its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def rates(path: Path, out: Path, count: int) -> str:
    """Return detections per CPU second read and written by the library and by ours, with the ratios."""
    slow, fast = cpu_seconds(lambda: library(path)), cpu_seconds(lambda: read_coco_results(path))
    records, table = library(path), read_coco_results(path)
    dump = cpu_seconds(lambda: out.write_text(json.dumps(records)))
    write = cpu_seconds(lambda: write_coco_results(table, out))
    return (
        f"{count / slow:13,.0f}{count / fast:13,.0f}{slow / fast:7.1f}"
        f"{count / dump:13,.0f}{count / write:13,.0f}{dump / write:7.1f}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--detections", type=int, default=200_000)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        table = read_coco_results(options.read)
        print(high_water() / 2**20, table.arrow.nbytes / 2**20)
        return
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "results.json", Path(folder) / "out.json"
        make_file(path, 100, KINDS[-1])
        write_coco_results(read_coco_results(path), out)  # compiles
        n = options.detections
        print(f"{'':16}{'MB':>6}{'json':>13}{'read':>13}{'ratio':>7}{'json':>13}{'write':>13}{'ratio':>7}")
        for kind in KINDS:
            count = n // 4 if "masks" in kind else n
            make_file(path, count, kind)
            print(f"{kind:16}{path.stat().st_size / 2**20:6.0f}{rates(path, out, count)}")
        print(f"\n{'':16}{'MB':>6}{'peak MB':>9}{'table MB':>10}{'peak - table':>14}{'peak / table':>14}")
        for kind in KINDS:
            make_file(path, 100, kind)
            tiny, _ = peak(path)
            for times in (1, 4):
                make_file(path, times * (n // 4 if "masks" in kind else n), kind)
                high, table_size = peak(path)
                extra = high - tiny
                print(
                    f"{kind:16}{path.stat().st_size / 2**20:6.0f}{extra:9.0f}{table_size:10.0f}"
                    f"{extra - table_size:14.0f}{extra / table_size:14.1f}"
                )


if __name__ == "__main__":
    main()

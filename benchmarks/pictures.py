"""Rendering pictures of detections: CPU seconds and peak memory for simulated members, on pictures and on empty frames.

    python benchmarks/pictures.py [--images 5000] [--members 6] [--masks] [--size 640]

Each kind runs in a process of its own, first for a fifth of the images: what memory grows by beyond that is the tables'
and not the pictures'. Picture files are JPEG of 640 x 480 pixels, all the same, under a name for each image.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("QUORUM_THREADS", "1")

import numpy as np
from PIL import Image

from evaluation import Coco, read_coco
from evaluation.pictures import show
from evaluation.pictures.writing import write_pictures
from fusion.storage import read_table, write_table
from zoo.synthetic.simulated import Scenario, Skill, simulate


def made(folder: Path, images: int, members: int, masks: bool) -> None:
    """Write ground truth, tables and picture files."""
    scenario = Scenario(images=images, categories=20, masks=masks)
    simulation = simulate(scenario, [Skill(name=f"member {number}") for number in range(members)])
    simulation.write(folder / "data")
    for number, found in enumerate(simulation.members):
        write_table(found.table(), folder / f"{number}.parquet")
    noise = np.random.default_rng(0).integers(60, 190, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(folder / "one.jpg")
    (folder / "pictures").mkdir()
    truth = read_coco(folder / "data" / "ground_truth.json")
    for key, name in zip(truth.image_id.tolist(), truth.file_name.tolist(), strict=True):
        os.link(folder / "one.jpg", folder / "pictures" / (name or f"{key}.jpg"))


def rendered(folder: Path, pictures: bool, masks: bool, size: int, first: int) -> None:
    """Render the first images, and print what it took."""
    truth = read_coco(folder / "data" / "ground_truth.json")
    tables = [read_table(path) for path in sorted(folder.glob("*.parquet"))]
    began = time.process_time()
    gallery = show(
        tables,
        truth,
        images_folder=folder / "pictures" if pictures else None,
        protocol=Coco(iou_type="segm" if masks else "bbox"),
        size=size,
    )
    judged = time.process_time() - began
    with tempfile.TemporaryDirectory() as name:
        chosen = list(gallery.all())[:first]
        write_pictures(chosen, Path(name))
        written = sum(path.stat().st_size for path in Path(name).iterdir())
    took = time.process_time() - began - judged
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kind = "pictures" if pictures else "empty frames"
    print(
        f"{kind:13s} {first:6,} of {len(gallery):,} images x {len(tables)} tables: "
        f"judging {judged:5.2f} s, drawing {took:7.1f} s ({1e3 * took / first:.1f} ms each), peak {peak:,.0f} MiB, "
        f"{written / first / 1e3:.0f} kB each",
        flush=True,
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--members", type=int, default=6)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--masks", action="store_true")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        folder, pictures, first = options.one
        rendered(Path(folder), pictures == "True", options.masks, options.size, int(first))
        return
    with tempfile.TemporaryDirectory() as name:
        made(Path(name), options.images, options.members, options.masks)
        for pictures in (False, True):
            for first in (options.images // 5, options.images):
                command = [
                    sys.executable,
                    __file__,
                    "--size",
                    str(options.size),
                    "--one",
                    name,
                    str(pictures),
                    str(first),
                ]
                subprocess.run([*command, *(["--masks"] if options.masks else [])], check=True)


if __name__ == "__main__":
    main()

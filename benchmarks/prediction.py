"""Predicting with a small Mask R-CNN: images a second, the share of the table's writing, and memory against images.

    python -m benchmarks.prediction [--images 1024]

The model is a small one without training whose threshold lets the most detections through (50 per image, each with a
mask), which is the hard case for the table. CPU time of one process and one thread.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("QUORUM_THREADS", "1")

import torch

from benchmarks.measure import cpu, memory_kilobytes, reset_peak
from fusion.storage import read_table, write_table
from zoo.config import with_field
from zoo.data import View, open_data
from zoo.predict import predict
from zoo.registry import find
from zoo.train import train

CHANGES = {"train.segments": [], "train.steps": 1, "infer.score": 0.0, "infer.nms_iou": 0.95}


def main() -> None:
    """Print one line per number of images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1024)
    images = parser.parse_args().images
    torch.set_num_threads(1)
    config = find("md18_r50_base").make("tiny")
    for field, value in CHANGES.items():
        config = with_field(config, field, value)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train(config, open_data("scenes:8,128,0"), run)
        predict(run, open_data("scenes:8,128,0"), Path(folder) / "warm.parquet")
        for count in (images // 4, images):
            data, output = open_data(f"scenes:{count},128,1"), Path(folder) / f"{count}.parquet"
            reset_peak()
            before = memory_kilobytes("VmRSS")
            seconds = cpu(lambda data=data, output=output: predict(run, data, output, views=(View(128, 160),)), 1)
            peak = memory_kilobytes("VmHWM") - before
            table = read_table(output)
            writing = cpu(lambda table=table: write_table(table, Path(folder) / "again.parquet"), 1)
            print(
                f"{count:6,} images, {len(table):8,} detections: {count / seconds:6.1f} images a CPU second, "
                f"writing {100 * writing / seconds:.1f} % of it, {peak / 1024:6.0f} MiB above the start"
            )


if __name__ == "__main__":
    main()

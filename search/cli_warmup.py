"""Command `quorum warmup`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["warmup"]

_METHODS = ("nms", "soft_nms", "nms_then_soft", "wbf", "nmw", "vote", "matrix_nms", "concat")
_IMAGES = 24


def warmup() -> None:
    """Compile what the commands use, so that none of them has to: import, fuse, evaluate, leaderboard, search, auto.

    Compiled code is kept in the user's cache folder; done once after an installation, it is there for all later
    commands. What is there already is not compiled again.
    """
    from evaluation.loading import load, load_truth
    from evaluation.prepared import prepare
    from evaluation.protocol import Coco, Lvis
    from evaluation.statistics import bootstrap
    from fusion.method_plan import MethodOptions, method_plan
    from fusion.terminal import quiet, showing_progress, stderr
    from search.front import auto

    begin = time.perf_counter()
    with TemporaryDirectory(prefix="quorum-warmup-") as place, showing_progress() as progress:
        files = _write(Path(place))
        with quiet():
            truth = load_truth(files[0])
            tables = [load(file, truth) for file in files[1:]]
        for method in _METHODS:
            progress(f"fuse, {method}")
            fused = method_plan(method, MethodOptions()).fuse(tables)
        for protocol in (Coco(), Lvis()):
            progress(f"evaluate and leaderboard, {protocol.name}")
            bootstrap(prepare(truth, protocol).evaluate(fused), replicates=20)
        with quiet():
            auto(files[1:], truth, minutes=30, progress=progress)  # it ends long before
    stderr.print(f"Kernels are ready after {time.perf_counter() - begin:.0f} s", highlight=False)


def _write(folder: Path) -> list[Path]:
    """Write a ground truth of a few boxes, and the results of two members that see most of them."""
    boxes = [(image, [10 + 40 * place, 8 + image, 30, 24]) for image in range(1, _IMAGES + 1) for place in range(2)]
    annotations = [
        {"id": number, "image_id": image, "category_id": 1, "bbox": box, "area": 720, "iscrowd": 0}
        for number, (image, box) in enumerate(boxes, 1)
    ]
    truth = {
        "images": [
            {"id": image, "width": 120, "height": 100, "neg_category_ids": [], "not_exhaustive_category_ids": []}
            for image in range(1, _IMAGES + 1)
        ],
        "categories": [{"id": 1, "name": "thing", "frequency": "f"}],
        "annotations": annotations,
    }
    files = [folder / "truth.json", folder / "one.json", folder / "other.json"]
    files[0].write_text(json.dumps(truth), encoding="utf-8")
    for step, file in enumerate(files[1:], 1):
        results = [
            {"image_id": image, "category_id": 1, "bbox": [x + number % (2 + step), y, w, h + number % 3]}
            | {"score": 0.3 + (number * (step + 3)) % 60 / 100}
            for number, (image, (x, y, w, h)) in enumerate(boxes)
            if number % (4 + step)
        ]
        file.write_text(json.dumps(results), encoding="utf-8")
    return files

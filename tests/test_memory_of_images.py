"""Commands with `--images` or splits take the memory of what is asked for, not that of the tables."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from evaluation.analysis import table_analysis
from fusion import parquet
from fusion.storage import write_table
from fusion.table import DetectionTable

IMAGES, PER_IMAGE, CHOSEN = 600, 125, 12


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two members of 75,000 rows, as files and as folders, in small row groups; and a fiftieth of the images."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    ids, n = np.arange(1, IMAGES + 1), IMAGES * PER_IMAGE
    objects = [(image, 1 + k % 2, [20.0 * k, 10.0, 15.0, 12.0]) for image in ids.tolist() for k in range(3)]
    dataset = {
        "images": [{"id": image, "width": 100, "height": 100, "file_name": f"{image}.jpg"} for image in ids.tolist()],
        "categories": [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}],
        "annotations": [
            {
                "id": k + 1,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for k, (image, category, box) in enumerate(objects)
        ],
    }
    (folder / "truth.json").write_text(json.dumps(dataset))
    chosen = ids[:: IMAGES // CHOSEN]
    (folder / "few.txt").write_text("".join(f"{image}\n" for image in chosen.tolist()))
    nodes = '[nodes.all]\nstep = "concat"\ninputs = ["*"]\n[nodes.output]\nstep = "nms"\ninputs = ["all"]\n'
    (folder / "r.toml").write_text(f"recipe = 1\n{nodes}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "_GROUP", 1000)
        for name in "ab":
            box = np.array([box for *_, box in objects])[rng.integers(0, 3, n)] + rng.normal(0, 2, (n, 4))
            table = DetectionTable.from_arrays(
                image_id=np.repeat(ids, PER_IMAGE),
                category_id=rng.integers(1, 3, n),
                score=rng.random(n),
                xywh=np.maximum(box, 1),
            ).with_metadata(member=name)
            write_table(table, folder / f"{name}.parquet")
            write_table(table, folder / name, parts=2)
    return folder, table.arrow.nbytes


@pytest.mark.parametrize(
    "command",
    [
        "evaluate a",
        "evaluate a.parquet b.parquet",
        "compare a b --replicates 5",
        "leaderboard a.parquet b --replicates 5",
        "ablate a b --recipe r.toml --replicates 5",
        "learn weights a b -o w.toml",
        "learn calibration a.parquet b -o c.toml",
        "analyze a.parquet -o analysis",
        "labels a.parquet b.parquet -o labels.csv",
    ],
)
def test_images_are_what_is_in_memory(run, place, monkeypatch, tmp_path, command):
    folder, whole = place
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(table_analysis.TableAnalysis, "write", lambda *_: [])  # pictures take seconds
    for member in "ab":  # what an earlier command left
        shutil.rmtree(folder / member / ".quorum", ignore_errors=True)
    name, *words = command.split()
    words = [folder / word if (folder / word).exists() else word for word in words]
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        code, _, err = run(name, *words, "-g", folder / "truth.json", "--images", folder / "few.txt")
    finally:
        pa.set_memory_pool(before)
    assert code == 0, err
    assert 0 < pool.max_memory() < whole / 8

"""The whole run of docs/long-tail.sh, in its smallest form."""

# ruff: noqa: E402

import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from fusion.storage import read_table
from zoo.checkpoint import load_weights

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # four minutes: thirty commands, most of which start PyTorch; the run is what is tested
def test_a_long_tail_from_pictures_to_a_submission(tmp_path):
    command = tmp_path / "quorum"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m quorum "$@"\n')
    command.chmod(0o755)
    setting = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "IMAGES": "30",
        "STEPS": "4",
        "SCORE": "0.0176",
    }
    home = tmp_path / "job"
    done = subprocess.run(
        [ROOT / "docs" / "long-tail.sh", home], env=os.environ | setting, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]

    for member, frozen in (("traveler", ("backbone.", "neck.", "rpn.")), ("alibaba", ("backbone.", "neck.", "masks."))):
        before, after = (load_weights(home / "runs" / name, "last") for name in (member, f"{member}-2"))
        kept = [name for name in after if name.startswith(frozen)]
        assert kept
        assert all(torch.equal(before[name], after[name]) for name in kept)
        assert any(not torch.equal(before[name], after[name]) for name in after if name in before and name not in kept)
    for name in ("lvistraveler-tta-val", "alibaba-tta-val", "both-val"):
        table = read_table(home / f"{name}.parquet")
        assert len(table) > 0
        assert table.mask.null_count == 0
    board = (home / "leaderboard.md").read_text()
    assert all(word in board for word in ("AP", "APr", "lvistraveler-tta-val", "alibaba-tta-val", "both-val"))

    (archive,) = (home / "submission").glob("*.zip")
    with zipfile.ZipFile(archive) as files:
        (name,) = files.namelist()
        results = json.loads(files.read(name))
    test = json.loads((home / "test" / "lvis.json").read_text())
    sizes = {image["id"]: [image["height"], image["width"]] for image in test["images"]}
    assert set(results[0]) == {"image_id", "category_id", "segmentation", "score"}
    assert all(result["segmentation"]["size"] == sizes[result["image_id"]] for result in results)
    assert {result["category_id"] for result in results} <= {category["id"] for category in test["categories"]}
    assert max(Counter(result["image_id"] for result in results).values()) <= 300

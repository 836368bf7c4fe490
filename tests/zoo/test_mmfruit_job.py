"""The whole run of docs/mmfruit-job.sh, in its smallest form."""

import csv
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from fusion.storage import read_table
from tests.zoo.test_long_tail_job import run_script

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # some eighty commands; the run is what is tested
def test_the_champions_way_from_pictures_to_both_submissions(tmp_path, run):
    home = tmp_path / "job"
    small = {"IMAGES": "40", "STEPS": "4", "TRIALS": "5", "BOXES": "3", "DETECTORS": "plain class-aware dh weak"}
    run_script(ROOT / "docs" / "mmfruit-job.sh", home, tmp_path, run, **small)

    runs = {path.name for path in (home / "runs").iterdir()}
    assert runs == {
        "plain",
        "class-aware",
        "dh",
        "weak",
        "expert",
        "refiner",
        "hrnet-200-300",
        "hrnet-112",
        "hrnet-256",
    }
    lists = [
        set((home / "lists" / f"{name}.txt").read_text().split()) for name in ("train", "rest", "tune-1", "tune-2")
    ]
    assert len(set.union(*lists)) == sum(map(len, lists)) == 40
    before, after = (read_table(home / "test-all" / f"{name}.parquet") for name in ("related", "refined"))
    assert len(before) == len(after) > 0
    assert after.score.tolist() == before.score.tolist()
    voted = read_table(home / "masks" / "voted.parquet")
    assert voted.mask.null_count == 0
    board = (home / "leaderboard.md").read_text()
    assert all(word in board for word in ("naive-1-16", "mixed", "experts", "together", "related", "refined"))
    board = (home / "leaderboard-masks.md").read_text()
    assert all(word in board for word in ("hrnet-112", "hrnet-256-flip", "hrnet-200-300", "voted"))
    images = [path.stem for path in sorted((home / "test" / "images").iterdir())]
    for form in ("detection", "segmentation"):
        with (home / "submission" / f"{form}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["ImageID" if "ImageID" in row else "ImageId"] for row in rows] == images
        assert any("/q/" in row["PredictionString"] for row in rows)
    told = (home / "search" / "best.toml").stat().st_mtime_ns
    (tmp_path / "again").mkdir()
    run_script(ROOT / "docs" / "mmfruit-job.sh", home, tmp_path / "again", run, **small)
    assert (home / "search" / "best.toml").stat().st_mtime_ns == told

"""What commands load: each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KERNELS = {"numba", "llvmlite"}
HEAVY = {*KERNELS, "pandas", "scipy", "scipy.linalg", "sklearn", "torch", "matplotlib", "optuna", "rich.progress"}
TRUTH = {
    "images": [{"id": i, "width": 100, "height": 100} for i in (1, 2, 3, 4)],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [
        {"id": 10 + i, "image_id": i, "category_id": 1, "bbox": [5, 5, 30, 30], "area": 900, "iscrowd": 0}
        for i in (1, 2, 3, 4)
    ],
}
RESULTS = [{"image_id": i, "category_id": 1, "bbox": [5, 5, 30, 30 + i], "score": 0.5} for i in (1, 2, 3, 4)]


def loaded(*command, cwd=None, code=0):
    """Run a command in a process of its own; return which of the heavy modules it loaded, and what it said.

    Args:
        *command: Its words.
        cwd: Where it runs.
        code: 0, or None where it has to end with an error.
    """
    source = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import quorum
try:
    quorum.main({[str(word) for word in command]!r})
except SystemExit as end:
    assert ({code} is None) == bool(end.code), end.code
print("loaded", *sorted({HEAVY!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", source], cwd=cwd or ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    out, _, names = done.stdout.rpartition("loaded")
    return set(names.split()), out + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    (path / "truth.json").write_text(json.dumps(TRUTH))
    (path / "results.json").write_text(json.dumps(RESULTS))
    return path


def test_import_export_and_split_load_no_kernels(folder):
    assert loaded("import", "results.json", "-g", "truth.json", "-o", "a.parquet", cwd=folder)[0] == set()
    assert loaded("export", "coco", "a.parquet", "-o", "again.json", cwd=folder)[0] == set()
    assert json.loads((folder / "again.json").read_text()) == RESULTS
    assert loaded("split", "truth.json", "-o", "lists", "--shares", "half=0.5", cwd=folder)[0] == set()


def test_commands_with_kernels_load_neither_pandas_nor_scipy(folder):
    for name in "bc":
        loaded("import", "results.json", "-g", "truth.json", "-o", f"{name}.parquet", cwd=folder)
    for _ in range(2):  # what has to be compiled may load more
        fused = loaded("fuse", "b.parquet", "c.parquet", "--method", "wbf", "-o", "f.parquet", cwd=folder)
        measured = loaded("evaluate", "f.parquet", "-g", "truth.json", cwd=folder)
    for names, _ in (fused, measured):
        assert names <= {*KERNELS, "scipy"}


HELP = [[*word.split(), "--help"] for word in ("", "import", "export", "split", "zoo list")]
HELP += [[word, "--help"] for word in ("evaluate", "leaderboard", "compare", "ablate", "analyze", "submit", "fuse")]
HELP += [["learn", word, "--help"] for word in ("weights", "calibration", "relations", "scales", "experts")]
HELP += [[word, "--help"] for word in ("search", "train", "predict", "demo", "show", "labels")]


@pytest.mark.parametrize("command", [*HELP, ["--version"]], ids=" ".join)
def test_help_loads_no_kernels(command):
    assert loaded(*command)[0] == set()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("evaluate a.parquet --protocol voc -g truth.json", "voc"),
        ("evaluate a.parquet -g truth.json --max-dets ten", "ten"),
        ("evaluate -g truth.json", "no table was given"),
        ("evaluate nothing.parquet -g truth.json", "no such file"),
        ("fuse a.parquet -o f.parquet", "--method or --recipe"),
        ("fuse a.parquet -o f.parquet --method wfb", "wfb"),
        ("fuse a.parquet -o f.parquet --method nms --iou 2", "--iou"),
        ("fuse nothing.parquet -o f.parquet --method nms", "no such file"),
        ("import nothing.json -o f.parquet", "nothing.json"),
        ("compare a.parquet nothing.parquet -g truth.json --iou-type masks", "masks"),
    ],
)
def test_errors_of_arguments_load_no_kernels(folder, command, said):
    names, text = loaded(*command.split(), cwd=folder, code=None)
    assert names == set()
    assert said in text

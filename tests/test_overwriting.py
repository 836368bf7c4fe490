"""No command writes over what it reads, and what fails leaves nothing."""

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import quorum

TRUTH = {
    "images": [{"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in (1, 2)],
    "annotations": [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 20, 10], "area": 200, "iscrowd": 0} for i in (1, 2)
    ],
    "categories": [{"id": 1, "name": "cat"}],
}
RESULTS = [{"image_id": i, "category_id": 1, "bbox": [1, 2, 20, 10], "score": 0.5} for i in (1, 2)]
RECIPE = 'recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["*"]\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("g.json").write_text(json.dumps(TRUTH))
    Path("q.json").write_text(json.dumps(RESULTS))
    Path("r.toml").write_text(RECIPE)
    quorum.main(["import", "q.json", "-g", "g.json", "-o", "q.parquet"])
    quorum.main(["import", "q.json", "-g", "g.json", "-o", "parts", "--parts", "2"])
    quorum.main(["learn", "weights", "q.parquet", "-g", "g.json", "-o", "w.toml"])
    return tmp_path


COMMANDS = [
    "import q.json -g g.json -o q.json",
    "import q.json -g g.json -o g.json",
    "learn weights q.parquet -g g.json -o g.json",
    "learn calibration q.parquet -g g.json -o q.parquet",
    "learn relations -g g.json -o g.json",
    "learn relations -g g.json -o r2.toml --picture r2.toml",
    "export coco q.parquet -o q.parquet",
    "export coco parts -o parts/part-00000.parquet",
    "submit q.parquet --format coco -g g.json --split s --algorithm m -o g.json",
    "submit q.parquet --format coco -g g.json --split s --algorithm m -o q.parquet",
    "fuse q.parquet --method nms -o q.parquet",
    "fuse q.parquet --method nms -o f.parquet --save-recipe f.parquet",
    "fuse q.parquet --method nms -o f.parquet --save-recipe q.parquet",
    "fuse q.parquet --method nms --weights w.toml -o f.parquet --save-recipe w.toml",
    "fuse q.parquet --recipe r.toml -o r.toml",
    "ablate q.parquet -g g.json --recipe r.toml -o r.toml --replicates 5",
]


@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
def test_inputs_are_as_they_were(folder, capsys, command, links):
    words = command.split()
    if links and Path(words[-1]).is_file():  # by another name
        os.link(words[-1], "hard")
        Path("soft").symlink_to("hard")
        words[-1] = "soft"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    with pytest.raises(SystemExit) as done:
        quorum.main(words)
    assert done.value.code == 2
    told = capsys.readouterr().err
    assert "one of the inputs" in told or "both name" in told
    assert "--" in told
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


FUSE = """
    import resource, signal, sys
    import numpy as np
    from fusion.storage import write_table
    from fusion.table import DetectionTable
    rng, n = np.random.default_rng(0), 20000
    ids, ones = np.arange(n), np.ones(n, int)
    t = DetectionTable.from_arrays(image_id=ids, category_id=ones, score=rng.random(n), xywh=rng.random((n, 4)))
    write_table(t, "t.parquet")
    import quorum
    quorum.main("fuse t.parquet --method nms -o /dev/null".split())  # kernels are kept on disk before it is full
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
    quorum.main("fuse t.parquet --method nms -o fused.parquet --save-recipe recipe.toml".split())
"""


def test_a_recipe_is_not_left_where_its_table_could_not_be_written(tmp_path):
    if not hasattr(signal, "SIGXFSZ"):
        pytest.skip("no file size limits here")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FUSE)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "fused.parquet: could not be written" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_a_place_for_the_recipe_that_cannot_be_used_is_told_first(folder, capsys):
    with pytest.raises(SystemExit):
        quorum.main(["fuse", "q.parquet", "--method", "nms", "-o", "fused.parquet", "--save-recipe", "parts"])
    assert "parts: expected a file to write, got a directory" in capsys.readouterr().err
    assert not Path("fused.parquet").exists()


def test_results_go_to_devices_and_pipes(folder, capsys):
    quorum.main(["import", "q.json", "-g", "g.json", "-o", "/dev/null"])
    quorum.main(["fuse", "q.parquet", "--method", "nms", "-o", "/dev/null"])
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    quorum.main(["export", "coco", "q.parquet", "-o", "r.json"])
    with subprocess.Popen(
        [sys.executable, "-m", "quorum", *["export", "coco", "q.parquet", "-o", "/dev/stdout"]],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout.read() == Path("r.json").read_bytes()


def test_too_many_parts_are_told_before_anything_is_read(folder, capsys):
    with pytest.raises(SystemExit):
        quorum.main(["import", "nothing.json", "-g", "nothing.json", "-o", "p", "--parts", "3000"])
    assert "option --parts: expected a whole number from 1 to 512, got 3000" in capsys.readouterr().err

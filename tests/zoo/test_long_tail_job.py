"""The whole run of docs/long-tail.sh, in its smallest form."""

# ruff: noqa: E402

import contextlib
import json
import os
import socket
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


STUB = """#!{python} -SE
import json, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({place!r})
    line.sendall(json.dumps(sys.argv[1:]).encode())
    line.shutdown(socket.SHUT_WR)
    sys.exit(int(line.makefile().read()))
"""


def run_script(script, home, folder, run, **setting):
    """Run a shell script whose thirty commands are run by this process: to start PyTorch for each takes two minutes."""
    place, command = folder / "line", folder / "quorum"
    command.write_text(STUB.format(python=sys.executable, place=str(place)))
    command.chmod(0o755)
    environment = os.environ | setting | {"PATH": f"{folder}:{os.environ['PATH']}"}
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()
        server.settimeout(0.1)
        job = subprocess.Popen([script, home], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
        said = ""
        while job.poll() is None:
            with contextlib.suppress(TimeoutError):
                line, _ = server.accept()
                line.settimeout(None)
                with line, line.makefile("r") as words:
                    code, _, said = run(*json.load(words))
                    line.sendall(str(code).encode())
    assert job.returncode == 0, said[-2000:]


@pytest.mark.slow  # thirty commands; the run is what is tested
def test_a_long_tail_from_pictures_to_a_submission(tmp_path, run):
    home = tmp_path / "job"
    run_script(ROOT / "docs" / "long-tail.sh", home, tmp_path, run, IMAGES="30", STEPS="4", SCORE="0.0176")

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

"""What is compiled beforehand is what the commands use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.cli_warmup import _write

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_after_warmup_nothing_is_compiled(tmp_path):
    def quorum(*words):
        done = subprocess.run(
            [sys.executable, "-m", "quorum", *map(str, words)],
            cwd=ROOT, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stderr

    first = quorum("warmup")
    assert "Compiling kernels" in first
    assert "Compiled in" in first
    assert "Kernels are ready after" in first
    truth, *files = _write(tmp_path)
    tables = [tmp_path / f"{file.stem}.parquet" for file in files]
    for file, table in zip(files, tables, strict=True):
        assert "Compiling" not in quorum("import", file, "-g", truth, "-o", table)
    fused = tmp_path / "fused.parquet"
    for method in ("wbf", "nms", "soft_nms", "vote"):
        assert "Compiling" not in quorum("fuse", *tables, "--method", method, "-o", fused, "-g", truth)
    for command in ("evaluate", "leaderboard"):
        assert "Compiling" not in quorum(command, *tables, fused, "-g", truth)

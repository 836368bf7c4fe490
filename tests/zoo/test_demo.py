import json

from fusion.recipe_file import read_recipe
from fusion.storage import read_table


def test_fused_entries_stand_above_the_best_member(tmp_path, run):
    code, out, _ = run("demo", tmp_path / "demo")
    assert code == 0
    board = [line.split("│")[1].strip() for line in out.splitlines() if line.startswith("│")]
    assert len(board) == 10
    assert all(name.startswith("fused-") for name in board[:4])
    assert not any(name.startswith("fused-") for name in board[4:])
    results = json.loads((tmp_path / "demo" / "results.json").read_text())
    assert len(results) > 1000
    for path in (tmp_path / "demo" / "recipes").iterdir():
        assert read_recipe(path).tuned_on.images == 300
    assert len(list((tmp_path / "demo" / "tables").iterdir())) == 6
    assert read_table(tmp_path / "demo" / "verify" / f"{board[0]}.parquet").image_ids.tolist()[0] == 2

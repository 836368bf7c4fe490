"""`quorum submit`: what it prints, what it writes, how it ends."""

import json
import zipfile

import pytest
from cyclopts import App

from fusion.errors import InputError
from fusion.storage import write_table
from tests.evaluation.submissions.cases import named, record, simulated, small_table, write_zip


@pytest.fixture
def submit(capsys):
    app = App()
    app.command("evaluation.cli.submit:submit", name="submit")

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            app(["submit", *map(str, arguments)])
        return end.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def info(tmp_path):
    truth = simulated()[0]
    images = zip(truth.image_id.tolist(), truth.width.tolist(), truth.height.tolist(), strict=True)
    listed = [{"id": number, "width": width, "height": height} for number, width, height in images]
    path = tmp_path / "image_info.json"
    path.write_text(json.dumps({"images": listed, "categories": [{"id": k} for k in truth.category_id.tolist()]}))
    return path


def test_write_and_check(submit, info, tmp_path):
    write_table(simulated()[1], tmp_path / "table.parquet")
    options = ("--format", "coco", "--split", "val", "--algorithm", "x", "-g", info, "-o", tmp_path / "out")
    code, out, err = submit(tmp_path / "table.parquet", *options, "--max-per-image", 5)
    assert code == 0
    assert out == ""
    assert "more than 5 detections" in err
    assert err.index("more than 5") < err.index("detections_val_x_results.zip: ")  # reported first
    code, out, _ = submit("--check", tmp_path / "out" / "detections_val_x_results.zip", "-g", info, "--json")
    assert code == 0
    assert json.loads(out)["ok"] is True


def test_refused_before_anything_is_written(submit, info, tmp_path, capsys):
    write_table(small_table([(9999, 1, 0.5, 1, 1, 2, 3)]), tmp_path / "table.parquet")
    options = ("--format", "coco", "--split", "val", "--algorithm", "x", "-g", info, "-o", tmp_path / "out")
    app = App()
    app.command("evaluation.cli.submit:submit", name="submit")
    with pytest.raises(InputError, match="detections on images"):  # which the front door turns into exit code 2
        app(["submit", str(tmp_path / "table.parquet"), *map(str, options)])
    assert "image 9999: 1 detections" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_check_ends_with_1_where_a_server_would_refuse(submit, tmp_path):
    code, out, err = submit("--check", write_zip(tmp_path / "a.zip", [record(category=12)]))
    assert code == 1
    assert "category 12: 1 detections" in out
    assert "a server would refuse it" in err


def test_open_images(submit, tmp_path):
    write_table(named(simulated()[1]), tmp_path / "table.parquet")
    names = "".join(f"{number:016x},100,100\n" for number in range(60, 0, -1))
    (tmp_path / "images.csv").write_text("ImageID,ImageWidth,ImageHeight\n" + names)
    (tmp_path / "classes.csv").write_text("".join(f"/m/0{k},name\n" for k in range(1, 12)))
    options = ("-g", tmp_path / "images.csv", "--class-descriptions", tmp_path / "classes.csv")
    code, _, err = submit(
        tmp_path / "table.parquet", "--format", "openimages-detection", *options, "-o", tmp_path / "a.csv"
    )
    assert code == 0
    assert "They are clipped to the image in the file" in err
    assert (tmp_path / "a.csv").read_text().splitlines()[1].startswith("000000000000003c,")
    code, out, _ = submit("--check", tmp_path / "a.csv", *options)
    assert code == 0, out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either a table or --check"),
        (("a", "--check", "b"), "either a table or --check"),
        (("a", "--format", "coco"), "--ground-truth, --output is missing"),
        (("--check", "a", "--class-descriptions", "b"), "needs the split's images"),
        (("--check", "not-there"), "no such file"),
    ],
)
def test_what_is_missing_is_named(arguments, message):
    app = App()
    app.command("evaluation.cli.submit:submit", name="submit")
    with pytest.raises(InputError, match=message):
        app(["submit", *arguments])


def test_the_bound_on_what_an_archive_unpacks_to_is_an_option(submit, tmp_path, monkeypatch):
    monkeypatch.setattr("evaluation.submissions.coco_file._SMALL", 1000)
    path = tmp_path / "detections_val_x_results.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("detections_val_x_results.json", "[" + " " * 1_000_000 + "]")
    code, out, _ = submit("--check", path)
    assert (code, "times as large as the archive" in " ".join(out.split())) == (1, True)
    assert submit("--check", path, "--max-ratio", "5000")[0] == 0

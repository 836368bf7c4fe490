"""The analysis of a table in parts against that of the whole: every frame and sentence is equal to the last bit."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation import Coco, Lvis, prepare, stored_matches
from evaluation.analysis import analyze_parts, analyze_table, parts_analysis, table_analysis
from evaluation.files import table_pieces
from fusion import in_order
from fusion.storage import write_table
from tests.evaluation.cases import ground_truth, random_case
from tests.evaluation.test_lvis import federated_case, lvis_truth
from tests.evaluation.test_stored import table_of


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Pieces of some rows, and a category or two at a time."""
    monkeypatch.setattr(table_pieces, "_ROWS", 40)
    monkeypatch.setattr(in_order, "_LEAST", 8)
    for module in (parts_analysis, stored_matches):
        monkeypatch.setattr(module, "_MERGED", 50)


def frames(analysis):
    """All that an analysis writes."""
    calibration, errors = analysis.calibration, analysis.errors
    return [
        errors.to_frame(),
        errors.to_category_frame(),
        analysis.result.to_frame(),
        analysis.f1_frame,
        calibration.to_frame(),
        calibration.to_category_frame(),
        analysis.confusion.to_frame(),
        analysis.sizes,
    ]


@pytest.mark.parametrize("protocol", [Coco(), Coco(iou_type="segm"), replace(Lvis(), max_dets=30)])
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**16),
    parts=st.integers(2, 4),
    rows=st.sampled_from([0, 3, 250]),
    iou=st.sampled_from([0.5, 0.3]),
    squeezed=st.booleans(),
)
def test_every_number_is_that_of_the_whole(protocol, seed, parts, rows, iou, squeezed):
    options = {"images": 8, "categories": 4, "results": rows}
    if isinstance(protocol, Lvis):
        dataset, results = federated_case(seed, **options)
        prepared = prepare(lvis_truth(dataset), protocol)
    else:
        dataset, results = random_case(seed, masks=protocol.iou_type == "segm", **options)
        prepared = prepare(ground_truth(dataset), protocol)
    for row in results if squeezed else []:  # scores that are probabilities
        row["score"] = (row["score"] + 1) / 3
    table = table_of(results)
    with TemporaryDirectory() as folder:
        write_table(table, Path(folder) / "parts", parts=parts)
        found = analyze_parts(Path(folder) / "parts", prepared, iou=iou)
        whole = analyze_table(table, prepared, iou=iou)
        for one, other in zip(frames(found), frames(whole), strict=True):
            pd.testing.assert_frame_equal(one, other, check_exact=True)
        assert found.sentences() == whole.sentences()
        np.testing.assert_array_equal(found.best, whole.best)
        np.testing.assert_array_equal(found.bias, whole.bias)


def test_the_command_analyzes_parts_as_it_analyzes_the_whole(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(table_analysis.TableAnalysis, "write", lambda *_: [])  # pictures take seconds
    dataset, results = random_case(4, images=8, results=200)
    Path("truth.json").write_text(json.dumps(dataset))
    Path("some.txt").write_text("\n".join(str(image["id"]) for image in dataset["images"][::2]))
    write_table(table_of(results), "m.parquet")
    write_table(table_of(results), "m", parts=3)
    said = []
    for name, more in (
        ("m.parquet", []),
        ("m", []),
        ("m.parquet", ["--images", "some.txt"]),
        ("m", ["--images", "some.txt"]),
    ):
        code, _, err = run("analyze", name, "-g", "truth.json", "-o", f"out{len(said)}", *more)
        assert code == 0, err
        said.append(Path(f"out{len(said)}/report.md").read_text())
    assert said[0] == said[1]
    assert said[2] == said[3] != said[0]
    code, _, err = run("analyze", "m", "-g", "truth.json", "-o", "open", "--protocol", "openimages")
    assert code == 0
    assert "all of the tables are in memory at once" in err

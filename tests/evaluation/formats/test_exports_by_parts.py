"""What is written of a table in parts: the very bytes that are written of the whole, with some rows in memory."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.files import table_pieces
from evaluation.formats import formats_that
from evaluation.ground_truth import GroundTruth
from evaluation.results import write_results
from fusion import in_order
from fusion.errors import InputError
from fusion.in_order import pieces_in_order
from fusion.masks import mask_array
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable

IMAGES, CATEGORIES, SIDE = 14, 3, 16


def case(seed, rows, *, names, masks=False):
    """A table, and ground truth that has two images more than the table; some boxes have corners of their own."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"im-{number:02d}" for number in range(IMAGES)], object) if names else np.arange(1, IMAGES + 1)
    corner = rng.random((rows, 2)) * 8
    table = DetectionTable.from_arrays(
        image_id=ids[rng.integers(0, IMAGES - 2, rows)],
        category_id=rng.integers(1, CATEGORIES + 1, rows),
        score=rng.random(rows),
        xyxy=np.concatenate([corner, corner + rng.random((rows, 2)) * 8], axis=1),
        mask=mask_array([SIDE] * rows, [SIDE] * rows, [b"05;1" if k % 2 else b"0n7" for k in range(rows)])
        if masks
        else None,
    ).with_metadata(member="m")
    truth = GroundTruth.from_arrays(
        image_id=ids,
        width=np.full(IMAGES, SIDE),
        height=np.full(IMAGES, SIDE),
        file_name=[f"{'cam/' if k % 2 else ''}{name}.jpg" for k, name in enumerate(ids.tolist())],
        category_id=np.arange(1, CATEGORIES + 1),
        category_name=["person", "traffic light", "dog & cat"],
        category_label=[f"/m/{k}" for k in range(CATEGORIES)],
        annotation_image_id=ids[:1],
        annotation_category_id=[1],
        xywh=[[0, 0, 4, 4]],
    )
    return table, truth


def content(path):
    """The bytes of a file, or of all files of a folder."""
    if path.is_file():
        return path.read_bytes()
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@pytest.fixture(autouse=True, scope="module")
def small_pieces():
    """Pieces of a few rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_pieces, "_ROWS", 12)
        patch.setattr(in_order, "_LEAST", 4)
        yield


@pytest.mark.parametrize("form", sorted(formats_that("write")))
@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 2**16), rows=st.sampled_from([0, 1, 60, 130]), parts=st.integers(2, 6), with_truth=st.booleans()
)
def test_exports_of_parts_are_those_of_the_whole(form, seed, rows, parts, with_truth):
    table, truth = case(seed, rows, names=form != "mot" and seed % 2 == 0, masks=form == "coco" and seed % 3 == 0)
    given_truth = truth if with_truth or form in ("openimages", "yolo") else None
    with TemporaryDirectory() as folder:
        place = Path(folder)
        write_table(table, place / "whole.parquet")
        write_table(table, place / "parts", parts=parts)
        notes = [write_results(table, place / "a.json", form, given_truth)]
        for name, path in (("b.json", place / "whole.parquet"), ("c.json", place / "parts")):
            notes.append(write_results(path, place / name, form, given_truth))
            assert content(place / name) == content(place / "a.json")
        assert notes[0] == notes[1] == notes[2]
        if rows > 100 and form in ("csv", "mot"):
            lines = (place / "c.json").read_text().splitlines()
            assert len(lines) == rows + (form == "csv")


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(0, 200),
    parts=st.integers(1, 7),
    names=st.booleans(),
    piece=st.integers(1, 60),
)
def test_pieces_in_order_are_the_whole(seed, rows, parts, names, piece):
    table, _ = case(seed, rows, names=names)
    with TemporaryDirectory() as folder:
        write_table(table, Path(folder) / "parts", parts=parts)
        found = list(pieces_in_order(Path(folder) / "parts", piece))
        whole = read_table(Path(folder) / "parts")
    assert [one for part in found for one in part.image_ids.tolist()] == whole.image_ids.tolist()
    for name in ("score", "x", "y", "w", "h", "category_id"):
        joined = np.concatenate(
            [getattr(part, name, None) if name == "category_id" else part.column(name) for part in found] or [[]]
        )
        assert np.array_equal(joined, whole.category_id if name == "category_id" else whole.column(name))
    assert all(part.metadata == whole.metadata for part in found)


def test_an_image_in_two_parts_is_refused(tmp_path):
    table, _ = case(1, 60, names=False)
    for number in range(2):
        write_table(table, tmp_path / "t" / f"part-{number:05d}.parquet")
    with pytest.raises(InputError, match="image 1 is in two parts"):
        list(pieces_in_order(tmp_path / "t"))

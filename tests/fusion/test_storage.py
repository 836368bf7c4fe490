import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusion import parquet
from fusion.belonging import Sketch
from fusion.errors import InputError
from fusion.storage import part_of, read_metadata, read_pieces, read_table, write_table
from fusion.table import DetectionTable
from fusion.table_columns import MASK_TYPE

ROOT = Path(__file__).parents[2]


def table(images=20, member="m", ids=int):
    rng = np.random.default_rng(0)
    n = images * 5
    image = rng.integers(0, images, n)
    return DetectionTable.from_arrays(
        image_id=image if ids is int else np.array([f"image{i}" for i in image], object),
        category_id=rng.integers(1, 4, n),
        score=rng.random(n),
        xywh=rng.random((n, 4)),
    ).with_metadata(member=member)


@pytest.mark.parametrize("ids", [int, str])
def test_file_and_folder_round_trip(tmp_path, ids):
    one = table(ids=ids)
    write_table(one, tmp_path / "deep" / "one.parquet")
    again = read_table(tmp_path / "deep" / "one.parquet")
    assert again.arrow.equals(one.arrow)
    assert again.metadata == one.metadata
    write_table(one, tmp_path / "parts", parts=4)
    assert len(list((tmp_path / "parts").iterdir())) == 4
    folder = read_table(tmp_path / "parts")
    assert folder.image_id.tolist() == one.image_id.tolist()
    assert folder.score.tolist() == one.score.tolist()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_part_depends_on_the_image_alone():
    ids = np.arange(1000, dtype=np.int64) * 7
    assert np.array_equal(part_of(ids, 8)[::3], part_of(ids[::3], 8))
    assert np.bincount(part_of(ids, 8), minlength=8).min() > 60
    names = np.array([str(i) for i in ids], object)
    assert np.array_equal(part_of(names, 8)[::3], part_of(names[::3], 8))
    assert part_of(np.array([-5], np.int64), 8)[0] in range(8)


def test_number_of_parts_is_bounded(tmp_path):
    for parts in (0, 513, 3000):
        with pytest.raises(InputError, match=f"expected a whole number from 1 to 512, got {parts}"):
            write_table(table(), tmp_path / "t", parts=parts)
    assert list(tmp_path.iterdir()) == []


def test_lost_bits_are_noticed(tmp_path):
    """Of 600 files with one bit turned each is read as it was written, or refused."""
    path, rng = tmp_path / "t.parquet", np.random.default_rng(1)
    images = Sketch.of(np.arange(20), [f"{i}.jpg" for i in range(20)])
    one = table(images=100).with_metadata(images=images, made_by={"source": "x.json", "notes": []})
    write_table(one, path)
    data, whole, refused = path.read_bytes(), read_table(path), 0
    for bit in rng.integers(0, 8 * len(data), 600).tolist():
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        path.write_bytes(turned)
        for read in (lambda path: [read_table(path)], lambda path: list(read_pieces(path, 10_000))):
            try:
                found = read(path)
            except InputError:
                refused += 1
                continue
            assert pa.concat_tables([piece.arrow for piece in found]).equals(whole.arrow)
            assert all(piece.metadata == whole.metadata for piece in found)
    assert refused > 1000


def test_every_byte_before_the_footer_is_covered(tmp_path):
    """Also those of page headers, which may lead to other values without any page that is wrong."""
    path = tmp_path / "t.parquet"
    write_table(table(images=3, ids=str), path)
    data, whole = path.read_bytes(), read_table(path)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    assert whole.arrow.equals(table(images=3, ids=str).arrow)
    for at in range(footer):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        with pytest.raises(InputError):
            read_table(path)
    said = b" %d 15" % footer  # what the file says of itself: bytes and rows
    assert data.count(said) == 1
    for other in (b" %d 14" % footer, b" %d 1x" % footer, b" %d 15" % (footer - 1)):
        path.write_bytes(data.replace(said, other))
        with pytest.raises(InputError, match="is damaged"):
            read_table(path)


def test_what_is_not_a_table_is_refused(tmp_path):
    def message(path):
        with pytest.raises(InputError) as error:
            read_table(path)
        return str(error.value)

    assert "no such file" in message(tmp_path / "nothing.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    assert "expected a Parquet file" in message(tmp_path / "text.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    assert "not a detection table" in message(tmp_path / "other.parquet")
    (tmp_path / "folder").mkdir()
    assert "folder without any" in message(tmp_path / "folder")
    arrow = table().arrow.replace_schema_metadata({b"quorum": b'{"version": 99}'})
    pq.write_table(arrow, tmp_path / "newer.parquet")
    assert "version 99" in message(tmp_path / "newer.parquet")
    assert "Update" in message(tmp_path / "newer.parquet")
    pq.write_table(arrow.replace_schema_metadata({b"quorum": b"[]"}), tmp_path / "bad.parquet")
    assert "metadata cannot be read" in message(tmp_path / "bad.parquet")
    whole = tmp_path / "whole.parquet"
    write_table(table(), whole)
    data = whole.read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    assert "expected a Parquet file" in message(tmp_path / "cut.parquet")


def test_parts_of_different_tables_are_refused(tmp_path):
    write_table(table(), tmp_path / "t" / "part-00000.parquet")
    write_table(table(member="other"), tmp_path / "t" / "part-00001.parquet")
    with pytest.raises(InputError, match="parts disagree"):
        read_table(tmp_path / "t")


def test_writing_over_a_folder(tmp_path):
    write_table(table(), tmp_path / "t", parts=2)
    with pytest.raises(InputError, match="exists already"):
        write_table(table(), tmp_path / "t", parts=2)
    with pytest.raises(InputError, match="got a directory"):
        write_table(table(), tmp_path / "t")


def test_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    write_table(table(), path)
    before = path.read_bytes()

    def interrupted(*args, **kwargs):
        Path(args[1]).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("fusion.storage.write_parquet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_table(table(images=50), path)
    assert path.read_bytes() == before
    assert [path.name for path in (tmp_path).iterdir()] == ["t.parquet"]


WRITE = """
    import resource, signal, sys
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
    import numpy as np
    from fusion.storage import write_table
    from fusion.table import DetectionTable
    rng = np.random.default_rng(0)
    n = 20000
    ids, ones = np.arange(n), np.ones(n, int)
    t = DetectionTable.from_arrays(image_id=ids, category_id=ones, score=rng.random(n), xywh=rng.random((n, 4)))
    try:
        write_table(t, sys.argv[1])
    except ValueError as error:
        sys.stderr.write(str(error))
        sys.exit(2)
"""


@pytest.mark.skipif(
    not hasattr(signal, "SIGXFSZ") or not hasattr(resource, "RLIMIT_FSIZE"), reason="no file size limits here"
)
def test_full_disk_gives_one_message_and_leaves_nothing(tmp_path):
    path = tmp_path / "t.parquet"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WRITE), str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "could not be written" in done.stderr
    assert [path.name for path in (tmp_path).iterdir()] == []


@pytest.mark.parametrize("parts", [None, 3])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_pieces_of_whole_images_make_the_table(tmp_path, parts, rows):
    one = table(ids=str)
    write_table(one, tmp_path / "t", parts=parts)
    whole = read_table(tmp_path / "t")
    pieces = list(read_pieces(tmp_path / "t", rows))
    assert len(pieces) >= (parts or 1)
    joined = pa.concat_tables([piece.arrow for piece in pieces]).unify_dictionaries()
    joined = DetectionTable.from_arrow(joined, one.metadata, "pieces").arrow
    assert joined.combine_chunks().to_pydict() == whole.arrow.to_pydict()
    images = [image for piece in pieces for image in piece.image_ids]
    assert len(images) == len(set(images)) == 20
    assert read_metadata(tmp_path / "t") == (one.metadata, len(one))


def test_pieces_of_an_image_in_two_parts_are_refused(tmp_path):
    for number in range(2):
        write_table(table(), tmp_path / "t" / f"part-0000{number}.parquet")
    with pytest.raises(InputError, match="occurs again after others"):
        list(read_pieces(tmp_path / "t"))


def test_metadata_of_what_is_no_table(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="not a detection table; its columns are a"):
        read_metadata(tmp_path / "x.parquet")


@pytest.mark.parametrize("ids", [int, str])
@pytest.mark.parametrize("parts", [None, 3])
def test_of_some_images_only_their_row_groups_are_read(tmp_path, monkeypatch, ids, parts):
    monkeypatch.setattr(parquet, "_GROUP", 10)
    one = table(images=60, ids=ids)
    write_table(one, tmp_path / "t", parts=parts)
    read, real = [], pq.ParquetFile.read_row_group

    def counted(file, group, columns=None, **options):
        if columns != ["image_id"]:
            read.append(group)
        return real(file, group, columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    rng = np.random.default_rng(2)
    unknown = [10**6] if ids is int else ["zebra"]
    for count in (0, 1, 5, 60):
        images = rng.permutation(one.image_ids)[:count].tolist() + unknown
        read.clear()
        found = read_table(tmp_path / "t", images=images)
        assert found.arrow.equals(one.select_images(np.array(images, one.image_ids.dtype)).arrow)
        assert found.metadata == one.metadata
        assert len(read) == len(set(read)) or parts
        assert len(read) <= 4 * count
        if not count:
            assert not read
    assert len(read_table(tmp_path / "t", images=["x"] if ids is int else [3])) == 0


def test_only_columns_that_are_wanted_are_read(tmp_path):
    one = table()
    n = len(one)
    far = np.full(n, np.nan)
    masks = pa.array([{"height": 1, "width": 2, "counts": b"0"}] * n, MASK_TYPE)
    full = one.arrow.append_column("mask", masks).append_column("votes", pa.array(np.ones(n, np.int16)))
    full = full.append_column("x2", pa.array(far, from_pandas=True))
    full = DetectionTable.from_arrow(full, one.metadata)
    write_table(full, tmp_path / "t", parts=2)
    assert read_table(tmp_path / "t", columns=()).arrow.equals(full.arrow.drop_columns(["mask", "votes"]))
    assert read_table(tmp_path / "t", columns=("mask", "view")).arrow.equals(full.arrow.drop_columns(["votes"]))

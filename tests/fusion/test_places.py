"""Tables in object stores: a store in memory, and an S3 server on this machine."""

import pickle
import uuid
from pathlib import Path

import numpy as np
import pytest

from fusion import DetectionTable, Nms, Recipe, read_table, write_table
from fusion.atomic import keep_inputs, replacing
from fusion.errors import InputError
from fusion.parts import fuse_files
from fusion.places import MANIFEST, Remote, place_of
from fusion.reparting import repart
from fusion.shards import Shard
from fusion.storage import part_name, read_metadata
from fusion.unfinished import put_in_place


@pytest.fixture
def memory():
    pytest.importorskip("fsspec")
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def s3():
    """A bucket of a server that behaves as S3 does."""
    server = pytest.importorskip("moto.server")
    import boto3

    with pytest.MonkeyPatch.context() as patch:
        running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        running.start()
        host, port = running.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="tables")
        yield "s3://tables"
        running.stop()


def table_of(seed, images=40, member="m"):
    rng = np.random.default_rng(seed)
    n = images * 5
    return DetectionTable.from_arrays(
        image_id=np.sort(rng.integers(0, images, n)),
        category_id=rng.integers(1, 4, n),
        score=rng.random(n),
        xywh=rng.random((n, 4)) * 50 + 1,
    ).with_metadata(member=member)


def check_store(url, tmp_path):
    """Everything that a folder on the disk does, done there: the same bytes of rows come back."""
    members = [table_of(seed, member=f"m{seed}") for seed in range(2)]
    for number, table in enumerate(members):
        write_table(table, f"{url}/one{number}.parquet")
        write_table(table, f"{url}/m{number}", parts=4)
        write_table(table, tmp_path / f"m{number}", parts=4)
        assert read_table(f"{url}/one{number}.parquet").arrow.equals(table.arrow)
        assert read_table(f"{url}/m{number}").arrow.equals(read_table(tmp_path / f"m{number}").arrow)
    some = read_table(f"{url}/m0", images=[3, 5], columns=())
    assert some.arrow.equals(read_table(tmp_path / "m0", images=[3, 5], columns=()).arrow)
    assert read_metadata(f"{url}/m0") == read_metadata(tmp_path / "m0")
    assert repart(f"{url}/one0.parquet", f"{url}/again", 4) == len(members[0])
    assert read_table(f"{url}/again").arrow.equals(read_table(f"{url}/m0").arrow)
    recipe = Recipe.chain([Nms(iou=0.5)])
    fuse_files(recipe, [tmp_path / "m0", tmp_path / "m1"], tmp_path / "fused")
    inputs = [f"{url}/m0", Path(f"{url}/m1")]  # a path that has lost a slash, as the command line gives it
    first = fuse_files(recipe, inputs, f"{url}/fused", shard=Shard(0, 2))
    assert "of 4 parts are done" in " ".join(first.notes)
    with pytest.raises(InputError, match="there is no manifest"):
        read_table(f"{url}/fused")
    fuse_files(recipe, inputs, f"{url}/fused", shard=Shard(1, 2))
    for number in range(4):
        own = (place_of(f"{url}/fused") / part_name(number)).read_bytes()
        assert own == (tmp_path / "fused" / part_name(number)).read_bytes()
    report = fuse_files(recipe, inputs, f"{url}/fused")  # is there already
    assert report.detections_out == len(read_table(f"{url}/fused"))


def test_tables_in_a_store_in_memory(memory, tmp_path):
    check_store(memory, tmp_path)


@pytest.mark.slow
def test_tables_on_an_s3_server(s3, tmp_path):
    check_store(s3, tmp_path)
    assert place_of(f"{s3}/m0") in set(place_of(s3).iterdir())


def test_a_run_goes_on_where_it_was_stopped_and_another_is_refused(memory, tmp_path, monkeypatch):
    for number in range(2):
        write_table(table_of(number, member=f"m{number}"), f"{memory}/m{number}", parts=3)
    inputs, output = [f"{memory}/m0", f"{memory}/m1"], f"{memory}/out"
    recipe = Recipe.chain([Nms(iou=0.5)])
    fuse_files(recipe, inputs, output, shard=Shard(0, 3))
    other = Recipe.chain([Nms(iou=0.6)])
    fuse_files(other, inputs, output, shard=Shard(1, 3))
    with pytest.raises(InputError, match="parts of another run"):
        put_in_place(place_of(output), place_of(output), ["a", "b", "c"])
    made = []
    real = Recipe.fuse
    monkeypatch.setattr(Recipe, "fuse", lambda self, *a, **o: made.append(1) or real(self, *a, **o))
    report = fuse_files(recipe, inputs, output)
    assert len(made) == 2  # the first part was there
    assert "1 of 3 parts were there already" in " ".join(report.notes)
    with pytest.raises(InputError, match="exists already"):
        fuse_files(other, inputs, output)
    with pytest.raises(InputError, match="exists already"):
        write_table(table_of(0), output, parts=3)


def test_what_is_missing_is_said(memory):
    with pytest.raises(InputError, match="no such file or folder"):
        read_table(f"{memory}/nothing")
    write_table(table_of(0), f"{memory}/m", parts=3)
    (place_of(f"{memory}/m") / part_name(1)).unlink()
    with pytest.raises(InputError, match=r"part-00001\.parquet is missing"):
        read_table(f"{memory}/m")
    (place_of(f"{memory}/m") / MANIFEST).write_bytes(b"{}")
    with pytest.raises(InputError, match="is no manifest"):
        read_table(f"{memory}/m")
    with pytest.raises(InputError, match="cannot be opened"):
        read_table("nonesuch://bucket/m")
    write_table(table_of(0), f"{memory}/one.parquet")
    place = place_of(f"{memory}/one.parquet")
    place.write_bytes(place.read_bytes()[:-300])
    with pytest.raises(InputError, match="cannot be read"):
        read_table(place)


def half_written(path):
    path.write_bytes(b"half")
    raise RuntimeError("stopped")


def test_nothing_is_left_of_what_failed(memory):
    write_table(table_of(0), f"{memory}/one.parquet")
    before = place_of(f"{memory}/one.parquet").read_bytes()
    for path, folder in ((f"{memory}/one.parquet", False), (f"{memory}/folder", True)):
        with pytest.raises(RuntimeError, match="stopped"), replacing(path, folder=folder) as temporary:
            half_written(temporary / part_name(0) if folder else temporary)
    assert place_of(f"{memory}/one.parquet").read_bytes() == before
    assert not place_of(f"{memory}/folder").exists()
    with pytest.raises(InputError, match="got a folder"), replacing(memory):
        pass


def test_places():
    for text in ("a/b.parquet", "/a/b", "./a"):
        assert type(place_of(text)) is type(Path(text))
    place = place_of("s3://bucket/a/b.parquet")
    assert isinstance(place, Remote)
    assert (str(place), place.name, place.stem) == ("s3://bucket/a/b.parquet", "b.parquet", "b")
    assert str(place.parent / "c") == "s3://bucket/a/c"
    assert place_of(Path("s3://bucket/a/b.parquet")) == place == pickle.loads(pickle.dumps(place))


def test_an_input_in_a_store_is_not_written_over(memory):
    write_table(table_of(0), f"{memory}/m", parts=2)
    for output in (f"{memory}/m", f"{memory}/m/{part_name(0)}", f"{memory}/m/new.parquet"):
        with pytest.raises(InputError, match="one of the inputs"):
            keep_inputs({"output": Path(output)}, [Path(f"{memory}/m")])
    keep_inputs({"output": Path(f"{memory}/n")}, [Path(f"{memory}/m")])

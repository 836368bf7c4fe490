"""Whatever bytes come, the reader gives the right table or one InputError, the same by either of its two paths."""

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_codec

from fusion.coco_results import read_coco_results
from fusion.errors import InputError
from tests.fusion.careful import only_careful

FUZZ = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
EMPTY = mask_codec.encode(np.zeros((480, 640), np.uint8, order="F"))["counts"].decode()
RLES = [
    {"size": [4, 6], "counts": "08`0"},
    {"size": [2, 2], "counts": "4"},
    {"size": [480, 640], "counts": EMPTY},
    {"size": [4, 6], "counts": [0, 8, 16]},
    {"size": [4, 6], "counts": "\\\\"},
]
NUMBERS = st.one_of(
    st.floats(width=64),
    st.floats(width=32, min_value=0, max_value=1000),
    st.integers(-(2**70), 2**70),
    st.integers(0, 100),
    st.decimals(min_value=0, max_value=1000, places=3).map(float),
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5) | st.sampled_from(RLES),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BOXES = st.lists(st.floats(0, 1e5), min_size=4, max_size=4)
PLAIN = st.fixed_dictionaries(
    {"image_id": st.integers(0, 5), "category_id": st.integers(1, 3), "bbox": BOXES, "score": st.floats(-5, 5)},
    optional={"segmentation": st.sampled_from(RLES[:2]), "id": st.integers(), "é": JSON},
)
ODD = st.fixed_dictionaries(
    {},
    optional={
        "image_id": st.integers(0, 5) | JSON,
        "category_id": st.integers(0, 5) | JSON,
        "bbox": BOXES | st.lists(NUMBERS, max_size=5) | JSON,
        "score": NUMBERS | JSON,
        "segmentation": st.sampled_from(RLES) | JSON,
        "x": JSON,
    },
)


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Read text by both paths and in two block sizes; return the table or None, having compared them."""
    path = tmp_path_factory.mktemp("fuzz") / "f.json"

    def call(text, **options):
        path.write_bytes(text)
        results = []
        for careful, block in ((False, 1 << 16), (True, 1 << 16), (False, 97)):
            try:
                with only_careful(careful):
                    results.append(read_coco_results(path, block=block, **options))
            except InputError as error:
                assert str(error).count("\n") == 0  # noqa: PT017
                results.append(None)
        first = results[0]
        for other in results[1:]:
            assert (first is None) == (other is None)
            if first is not None:
                assert other.arrow.equals(first.arrow)
                assert other.metadata == first.metadata
        return first

    return call


def same_as_json(table, records):
    """Compare with the standard library, bit for bit."""
    rows = sorted(records, key=lambda record: record["image_id"])
    assert table.image_id.tolist() == [record["image_id"] for record in rows]
    assert table.category_id.tolist() == [record["category_id"] for record in rows]
    assert table.score.tobytes() == np.array([float(record["score"]) for record in rows]).tobytes()
    boxes = np.array([[float(x) for x in record["bbox"]] for record in rows]).reshape(-1, 4)
    assert table.xywh.tobytes() == boxes.tobytes()


@FUZZ
@given(st.lists(PLAIN, max_size=6), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_good_records(check, records, indent, ascii_only):
    text = json.dumps(records, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    table = check(text)
    if table is None:  # a lone surrogate in an ignored text is no UTF-8
        with pytest.raises(UnicodeDecodeError):
            text.decode()
    else:
        same_as_json(table, records)


@FUZZ
@given(st.lists(PLAIN | ODD, max_size=5))
def test_odd_records(check, records):
    check(json.dumps(records).encode())


@FUZZ
@given(st.text("0123456789.eE+-", min_size=1, max_size=40) | NUMBERS.map(repr))
def test_numbers(check, token):
    text = f'[{{"image_id":1,"category_id":2,"score":{token},"bbox":[0,{token},1,2]}}]'
    try:
        value = float(json.loads(token))
    except (ValueError, OverflowError):
        value = math.nan
    table = check(text.encode())
    assert (table is not None) == math.isfinite(value)
    if table is not None:
        assert table.score.tobytes() == np.array([value]).tobytes()


@FUZZ
@given(JSON)
def test_any_json(check, value):
    check(json.dumps(value).encode())


@FUZZ
@given(st.lists(PLAIN, max_size=2), JSON, JSON, st.permutations(["annotations", "images", "categories", "info"]))
def test_dictionaries(check, records, images, categories, order):
    parts = {"annotations": records, "images": images, "categories": categories, "info": images}
    check(json.dumps({key: parts[key] for key in order}).encode())


@FUZZ
@given(st.binary(max_size=100))
def test_any_bytes(check, text):
    check(text)
    check(b"[{" + text)


GOOD = json.dumps(
    [
        {"image_id": 3, "category_id": 1, "bbox": [1.5, 2, 3, 4e1], "score": 0.123456789012345678, "area": None},
        {"image_id": 2, "category_id": "1", "score": 1, "segmentation": RLES[0], "tag": "a\\b", "l": [1, True]},
        {"image_id": 2, "category_id": 1, "score": 1, "bbox": [0, 0, 0, 0], "segmentation": RLES[3]},
    ]
).encode()


@settings(FUZZ, max_examples=1000)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 3), st.binary(max_size=3)), max_size=3))
def test_mutations(check, changes):
    text = bytearray(GOOD)
    for at, cut, new in changes:
        text[at : at + cut] = new
    check(bytes(text))


@settings(FUZZ, max_examples=1000)
@given(st.integers(0, len(GOOD) - 1), st.sampled_from(b'{}[],:"\\-+.eE0123456789 \n\x00tfnN'))
def test_one_structural_byte(check, at, byte):
    check(GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])


def test_every_truncation(check):
    assert len(check(GOOD)) == 3
    for end in range(len(GOOD)):
        assert check(GOOD[:end]) is None


@FUZZ
@given(st.lists(st.integers(0, 40) | st.integers(0, 2**22), min_size=1, max_size=12), st.binary(max_size=2))
def test_runs(check, lengths, junk):
    """Runs as pycocotools writes them are accepted, and anything else that does not fill the image is not."""
    height, width = sum(lengths), 1
    text = b""
    if height:
        text = mask_codec.frPyObjects({"size": [height, width], "counts": lengths}, height, width)["counts"]
    text += bytes(48 + byte % 64 for byte in junk)
    record = {"image_id": 1, "category_id": 1, "score": 1, "segmentation": {"size": [height, width]}}
    record["segmentation"]["counts"] = text.decode()
    table = check(json.dumps([record]).encode())
    assert (table is not None) == (height > 0 and filled(text) == height)
    if table is not None:
        assert table.mask[0].as_py()["counts"] == text


def filled(text):
    """Return the sum of compressed runs by COCO's rule, None where they are not in order."""
    runs, run, shift = [], 0, 0
    for byte in text:
        run |= (byte - 48 & 31) << shift
        shift += 5
        if byte - 48 & 32:
            continue
        if byte - 48 & 16:
            run -= 1 << shift
        runs.append(run + (runs[-2] if len(runs) > 2 else 0))
        run, shift = 0, 0
    return sum(runs) if runs and min(runs) >= 0 and not shift else None

"""Results files read in pieces: the same records however they are cut, and work that grows with the file alone."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.coco_results import blocks

GOOD = '{"image_id": 1, "score": 0.5}'
NESTED = '{"k": [' + ", ".join(['{"a": "}, {"}'] * 40) + "]}"
BLANKS = " \n" * 20_000


def read(path, text, block, monkeypatch=None):
    """The records, and how many bytes were looked at to find them."""
    path.write_text(text)
    looked = []
    if monkeypatch:
        for name in ("_last_cut", "_counted_cut"):
            plain = getattr(blocks, name)
            monkeypatch.setattr(blocks, name, lambda text, plain=plain: looked.append(len(text)) or plain(text))
    records = []

    def take(text, offset, last):
        looked.append(len(text))
        assert path.read_bytes()[offset : offset + len(text)].strip() == text.strip()
        try:
            records.extend(json.loads(b"[" + text + b"]"))
        except ValueError:
            return False
        return True

    file = blocks.JsonFile(path, block, None)
    try:
        file.blocks(take)
    finally:
        file.close()
    return records, sum(looked)


@pytest.mark.parametrize(
    "text",
    [
        f"[{BLANKS}{GOOD}]",
        f"[{GOOD}{BLANKS}]",
        f"[{GOOD}]{BLANKS}",
        f"{BLANKS}[{GOOD}]",
        f"[{GOOD}{BLANKS},{BLANKS}{GOOD}]",
        f"[{', '.join([NESTED] * 100)}]",
        f"[{GOOD}, {NESTED[:-2]}, {NESTED * 0}{', '.join(['{}'] * 20_000)}]}}, {GOOD}]",
        f"[{', '.join([GOOD] * 2000)}]",
    ],
    ids=["after [", "before ]", "after ]", "before [", "between", "nested", "one large record", "plain"],
)
def test_the_work_grows_with_the_file(tmp_path, monkeypatch, text):
    """With blocks of 100 bytes, work that grew with the square of the file would be hundreds of times its size."""
    records, looked = read(tmp_path / "a.json", text, 100, monkeypatch)
    assert records == json.loads(text)
    assert looked < 20 * len(text)


VALUES = st.recursive(
    st.integers() | st.text(alphabet='},{ "\\[]a', max_size=6),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text("a}", max_size=2), inside, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    records=st.lists(st.dictionaries(st.sampled_from("ab{"), VALUES, min_size=1, max_size=3), max_size=6),
    block=st.integers(1, 60),
    between=st.sampled_from([", ", ",", "\n,\n  ", "   ,"]),
)
def test_records_are_the_same_however_the_file_is_cut(tmp_path_factory, records, block, between):
    text = "[" + between.join(map(json.dumps, records)) + " ]\n"
    assert read(tmp_path_factory.mktemp("cut") / "a.json", text, block)[0] == records

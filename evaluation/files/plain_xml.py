"""Objects of XML files that all look alike, as columns: ten times as fast as parsing them one by one."""

import codecs
import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

__all__ = ["plain_objects"]

_OPEN, _CLOSE, _END = b"<object>", b"</object>", b"</annotation>"
_ENCODING = re.compile(rb"<\?xml[^>]*encoding=[\"']([^\"']+)")


def plain_objects(texts: Sequence[bytes], tags: Sequence[str]) -> tuple[list[int], list[pa.ChunkedArray]] | None:
    """Return what stands in some tags of each <object>.

    Args:
        texts: The files.
        tags: The tags, each of which an object has once, the first of words and the others of numbers.

    Returns:
        Number of objects of each file, and [n] texts for the first tag and [n] float64 for each of the others; None
        where objects differ in more than their values, and have to be parsed.
    """
    bodies, counts = [], []
    for text in texts:
        count = text.count(_OPEN)
        counts.append(count)
        if not count:
            if b"<object" in text:
                return None
            continue
        begin, end = text.index(_OPEN), text.rfind(_CLOSE)
        if b"&" in text or b"<!" in text or not text[-80:].rstrip().endswith(_END) or not _is_utf8(text):
            return None
        bodies.append(text[begin : end + len(_CLOSE)].translate(None, b"\n\r\t").replace(_CLOSE, b"\n"))
    if not bodies:
        return counts, [pa.chunked_array([], pa.string()), *[pa.chunked_array([], pa.float64())] * (len(tags) - 1)]
    fields = bodies[0].partition(b"\n")[0].decode(errors="replace").split("<")
    starts = [f"{tag}>" for tag in tags]
    places = [[place for place, field in enumerate(fields) if field.startswith(start)] for start in starts]
    if any(len(found) != 1 for found in places):
        return None
    names = [str(place) for place in range(len(fields))]
    chosen = [names[found[0]] for found in places]
    kinds = [pa.dictionary(pa.int32(), pa.string()), *[pa.string()] * (len(tags) - 1)]
    try:
        table = arrow_csv.read_csv(
            pa.py_buffer(b"".join(bodies)),
            arrow_csv.ReadOptions(column_names=names, block_size=1 << 22),
            arrow_csv.ParseOptions(delimiter="<", quote_char=False, double_quote=False),
            arrow_csv.ConvertOptions(include_columns=chosen, column_types=dict(zip(chosen, kinds, strict=True))),
        )
        words = table[chosen[0]].unify_dictionaries().combine_chunks()
        columns = [pa.chunked_array([words.dictionary.take(words.indices)])]
        columns += [table[name] for name in chosen[1:]]
        if table.num_rows != sum(counts):
            return None
        for place, (column, start) in enumerate(zip(columns, starts, strict=True)):
            seen = words.dictionary if place == 0 else column
            if not pc.all(pc.starts_with(seen, start)).as_py():
                return None
            values = pc.utf8_slice_codeunits(column, len(start))
            columns[place] = pc.utf8_trim_whitespace(values) if place == 0 else values.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    return counts, columns


def _is_utf8(text: bytes) -> bool:
    declared = _ENCODING.match(text.removeprefix(codecs.BOM_UTF8).lstrip())
    return declared is None or declared[1].lower() in (b"utf-8", b"us-ascii", b"ascii")

"""Detections of any format as raw columns: keys of images and categories told apart, numbers beside them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fusion.arrow_arrays import numpy_array
from fusion.coco_results.raw import RawColumns, RecordKey
from fusion.coco_results.vocabulary import integer_like

__all__ = ["ids_of_texts", "keyed", "raw_columns"]


def raw_columns(
    *,
    images: Sequence[RecordKey],
    image: np.ndarray,
    categories: Sequence[RecordKey],
    category: np.ndarray,
    score: np.ndarray,
    box: np.ndarray,
    mask: pa.ChunkedArray | None = None,
) -> RawColumns:
    """Return columns as a results file's, see `RawColumns`; records are numbered as they come."""
    return RawColumns(
        list(images),
        np.asarray(image, np.int32),
        list(categories),
        np.asarray(category, np.int32),
        np.asarray(score, np.float64),
        np.asarray(box, np.float64).reshape(-1, 4),
        mask,
        np.arange(len(score)),
    )


def keyed(column: pa.Array | pa.ChunkedArray, what: str = "id") -> tuple[list[RecordKey], np.ndarray]:
    """Tell the words of a column apart.

    Args:
        column: [n] texts.
        what: "id": integers where all are whole numbers, else texts; "text": ids as they stand; "name": names.

    Returns:
        The different keys, and int32 [n] the number of each row's.
    """
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    words = [str(word) for word in coded.dictionary.to_pylist()]
    ids: Sequence[int | str] = words if what == "text" else ids_of_texts(words)
    keys = [RecordKey(None, word) for word in words] if what == "name" else [RecordKey(i, None) for i in ids]
    return keys, numpy_array(coded.indices).astype(np.int32, copy=False)


def ids_of_texts(words: Sequence[str]) -> list[int] | list[str]:
    """Return integers where all words are the usual notation of one, else the words."""
    numbers = [integer_like(word) for word in words]
    if any(number is None or not -(2**63) <= number < 2**63 for number in numbers):
        return list(words)
    return [number for number in numbers if number is not None]

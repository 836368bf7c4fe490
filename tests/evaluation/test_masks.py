"""Reading COCO's compressed text and counting shared pixels, against pycocotools and bitmaps."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle

from evaluation import Coco, GroundTruth, prepare
from fusion.errors import InputError
from fusion.kernels.runs import bounds, decode, shared_pixels
from fusion.masks import mask_array, mask_text, taken


def read(text, pixels):
    runs = np.zeros(len(text) + 1, np.int32)
    count, area = decode(np.frombuffer(text, np.uint8), 0, len(text), pixels, runs)
    return runs[: max(count, 0)], count, area


side = st.integers(1, 9)
bitmaps = st.tuples(side, side, st.integers(0, 2**32 - 1), st.sampled_from([0, 0.1, 0.5, 0.9, 1])).map(
    lambda v: np.asfortranarray(np.random.default_rng(v[2]).random(v[:2]) < v[3], dtype=np.uint8)
)


@settings(max_examples=200, deadline=None)
@given(bitmaps)
def test_decodes_to_the_bitmap(bitmap):
    height, width = bitmap.shape
    runs, count, area = read(rle.encode(bitmap)["counts"], bitmap.size)
    drawn = np.zeros(bitmap.size, np.uint8)
    for low, high in runs.reshape(-1, 2):
        drawn[low:high] = 1
    np.testing.assert_array_equal(drawn.reshape(width, height).T, bitmap)
    assert area == bitmap.sum()
    box = bounds(runs, 0, count, height)
    ys, xs = np.nonzero(bitmap)
    assert box == ((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if area else (0, 0, 0, 0))


@settings(max_examples=200, deadline=None)
@given(bitmaps, st.integers(0, 2**32 - 1), st.sampled_from([0, 0.1, 0.5, 1]))
def test_counts_shared_pixels(bitmap, seed, share):
    other = np.asfortranarray(np.random.default_rng(seed).random(bitmap.shape) < share, dtype=np.uint8)
    a, a_count, _ = read(rle.encode(bitmap)["counts"], bitmap.size)
    b, b_count, _ = read(rle.encode(other)["counts"], bitmap.size)
    if a_count and b_count:
        assert shared_pixels(a, 0, a_count, b, 0, b_count) == (bitmap & other).sum()


def test_long_runs():
    """Runs of every length that takes one byte more, far apart, so that differences are negative as well."""
    counts = [1, 31, 16, 15, 2**9, 2**10 - 1, 5, 2**14, 2**20, 3, 2**25, 1]
    height, width = 1 << 13, 1 << 13
    counts.append(height * width - sum(counts))
    text = rle.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"]
    runs, _, area = read(text, height * width)
    assert np.diff(runs, prepend=0).tolist() == counts[:-1]
    assert area == sum(counts[1::2])


@pytest.mark.parametrize(
    "text", [b"\xff", b"5 5", b"o", b"oooooooooooooooo", b"99", b"0\x00", b"5O"], ids=lambda text: repr(text)
)
def test_what_is_no_mask_is_refused(text):
    """A byte out of range, a text that ends within a number, more pixels than there are, a negative run."""
    assert read(text, 10)[1] == -1


def test_short_text_leaves_background():
    assert read(b"23", 10)[0].tolist() == [2, 5]
    assert read(b"2", 10)[1] == 0
    assert read(b"", 10)[1] == 0


def truth(mask):
    return GroundTruth.from_arrays(
        image_id=[1], category_id=[1], annotation_image_id=[1, 1], annotation_category_id=[1, 1],
        xywh=[[0, 0, 1, 1]] * 2, segmentation=mask,
    )  # fmt: skip


def test_unreadable_masks_are_named():
    good = mask_array([5, 5], [2, 2], [b"23", b"23"])
    with pytest.raises(InputError, match="annotation 1, field 'mask': expected compressed COCO RLE of 5 x 2"):
        prepare(truth(mask_array([5, 5], [2, 2], [b"23", b"99"])), Coco(iou_type="segm"))
    prepared = prepare(truth(good), Coco(iou_type="segm"))
    columns = {"image_id": [1, 1], "category_id": [1, 1], "score": [1.0, 0.5], "xywh": np.zeros((2, 4))}
    with pytest.raises(InputError, match="row 1, field 'mask'"):
        prepared.evaluate_arrays(**columns, mask=mask_array([5, 5], [2, 2], [b"23", b"99"]))
    assert prepared.evaluate_arrays(**columns, mask=good).AP50 == 1


def test_text_of_a_slice():
    masks = mask_array([1, 2, 3, 4], [5, 6, 7, 8], [b"a", b"bb", b"ccc", b"d"])
    text = mask_text(masks[1:3])
    assert (text.height.tolist(), text.width.tolist()) == ([2, 3], [6, 7])
    assert [bytes(text.data[a:b]) for a, b in zip(text.offset[:-1], text.offset[1:], strict=True)] == [b"bb", b"ccc"]
    assert taken(masks, np.array([3, 0])).to_pylist() == masks.take(pa.array([3, 0])).to_pylist()

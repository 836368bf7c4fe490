"""Picture files as people have them: any depth, colours, format, extent and orientation, and damaged ones."""

# ruff: noqa: E402

import io
import json
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("torchvision", reason="the extra zoo (torchvision) is not installed")

from PIL import Image, ImageOps

from fusion.errors import InputError
from zoo.data import open_data
from zoo.data.picture_file import turn
from zoo.data.pictures import FolderPictures

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (12, 16, 3)).astype(np.uint8)
RED = (200, 30, 30)


def read(path):
    return FolderPictures(path.parent, [path.name]).pixels(0)


def png(width, height, bits, kind, rows):
    """A PNG file by hand, of pixels that Pillow cannot write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bits_of_grey_become_the_upper_eight(tmp_path, name):
    deep = RNG.integers(0, 65536, (12, 16)).astype(np.uint16)
    deep[0, :4] = 0, 255, 256, 65535
    Image.fromarray(deep).save(tmp_path / name)
    pixels = read(tmp_path / name)
    assert pixels.dtype == np.uint8
    for channel in range(3):
        assert np.array_equal(pixels[..., channel], deep // 256)


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bits_of_colours_become_the_upper_eight(tmp_path, kind, channels):
    deep = RNG.integers(0, 65536, (12, 16, channels)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(png(16, 12, 16, kind, [row.astype(">u2").tobytes() for row in deep]))
    expected = deep[..., :3] if channels > 2 else np.repeat(deep[..., :1], 3, axis=2)
    assert np.array_equal(read(tmp_path / "a.png"), expected // 256)


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk(tmp_path, name):
    Image.new("RGB", (16, 12), RED).convert("CMYK").save(tmp_path / name)
    assert np.abs(read(tmp_path / name).astype(int) - RED).max() <= 3


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.bmp", "a.tif"])
def test_palettes_give_their_colours(tmp_path, name):
    few = Image.fromarray(COLOURS).quantize(16)
    options = {"transparency": bytes(16)} if name.endswith("png") else {}
    few.save(tmp_path / name, **options)
    assert np.array_equal(read(tmp_path / name), np.asarray(few.convert("RGB")))


def test_transparency_is_left_out(tmp_path):
    alpha = RNG.integers(0, 256, (12, 16, 1)).astype(np.uint8)
    Image.fromarray(np.concatenate([COLOURS, alpha], axis=2)).save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png"), COLOURS)
    Image.fromarray(np.concatenate([COLOURS[..., :1], alpha], axis=2)).save(tmp_path / "b.png")
    assert np.array_equal(read(tmp_path / "b.png"), np.repeat(COLOURS[..., :1], 3, axis=2))


def test_black_and_white(tmp_path):
    bits = RNG.random((12, 16)) < 0.5
    Image.fromarray(bits).save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png")[..., 1], bits * np.uint8(255))


def test_32_bits_are_refused(tmp_path):
    for name, dtype in (("a.tif", np.int32), ("b.tif", np.float32)):
        Image.fromarray(np.ones((12, 16), dtype)).save(tmp_path / name)
        with pytest.raises(InputError, match=r"\.tif: has values of 32 bits, .* Convert it"):
            read(tmp_path / name)


@pytest.mark.parametrize("ending", [".tif", ".TIFF", ".bmp", ".BMP", ".gif", ".png", ".JPEG", ".webp"])
def test_files_are_found_with_and_without_their_ending(tmp_path, ending):
    options = {"format": "PNG"} if ending in (".gif", ".JPEG", ".webp") else {}  # the content decides what it is
    Image.fromarray(COLOURS).save(tmp_path / f"0001.b{ending}", **options)
    pictures = FolderPictures(tmp_path, ["0001.b", f"0001.b{ending}"])
    for index in range(2):
        assert np.array_equal(pictures.pixels(index), COLOURS)
    with pytest.raises(InputError, match="no such image"):
        FolderPictures(tmp_path, ["0001"])


def large(path, height, width):
    path.write_bytes(png(width, height, 1, 0, [bytes((width + 7) // 8)] * height))


def test_large_pictures_are_read_if_the_annotations_know_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    large(tmp_path / "a.png", 40, 60)
    with pytest.raises(InputError, match=r"a\.png: has 40 x 60 pixels .* up to 2,000 are read .* Add height and width"):
        read(tmp_path / "a.png")
    assert FolderPictures(tmp_path, ["a.png"]).size(0) == (40, 60)
    for told in ((0, 0), (30, 60)):
        with pytest.raises(InputError, match="up to 2,000 are read"):
            FolderPictures(tmp_path, ["a.png"], sizes=np.array([told])).pixels(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert FolderPictures(tmp_path, ["a.png"], sizes=np.array([[40, 60]])).pixels(0).shape == (40, 60, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.slow
def test_192_megapixels(tmp_path):
    large(tmp_path / "a.png", 12_000, 16_000)
    with pytest.raises(InputError, match=r"has 12000 x 16000 pixels .* up to 178,956,970 are read"):
        read(tmp_path / "a.png")
    pixels = FolderPictures(tmp_path, ["a.png"], sizes=np.array([[12_000, 16_000]])).pixels(0)
    assert pixels.shape == (12_000, 16_000, 3)


def marked(path, mark, pixels=COLOURS, **options):
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    exif[0x0112] = mark
    picture.save(path, exif=exif, **options)


def as_seen(pixels, mark):
    """Pillow's own way to turn a picture."""
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = mark
    return np.asarray(ImageOps.exif_transpose(picture))


@pytest.mark.parametrize("mark", range(1, 9))
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
def test_orientation_marks_are_followed_or_not(tmp_path, mark, ending):
    marked(tmp_path / f"a{ending}", mark, **({"lossless": True} if ending == ".webp" else {}))
    seen = as_seen(COLOURS, mark)
    assert np.array_equal(turn(COLOURS, mark), seen)
    for exif, expected in (("turn", seen), ("stored", COLOURS), ("auto", seen)):
        pictures = FolderPictures(tmp_path, ["a"], exif=exif)
        assert np.array_equal(pictures.pixels(0), expected), exif
        assert pictures.size(0) == expected.shape[:2]
    for told in {seen.shape[:2], COLOURS.shape[:2]}:
        pictures = FolderPictures(tmp_path, ["a"], sizes=np.array([told]))
        assert pictures.size(0) == pictures.pixels(0).shape[:2] == told
        if mark >= 5:
            assert np.array_equal(pictures.pixels(0), COLOURS if told == COLOURS.shape[:2] else seen)


def test_where_sizes_do_not_tell_the_other_pictures_of_the_set_do(tmp_path):
    marked(tmp_path / "upside_down.png", 3)
    for name in ("b.png", "c.png"):
        marked(tmp_path / name, 6)
    names, stored, seen = ["upside_down.png", "b.png", "c.png"], COLOURS.shape[:2], COLOURS.shape[1::-1]
    for told, expected, words in (
        ([stored, stored, stored], COLOURS, "0 are to be turned accordingly and 2 to be read as stored; .* read as"),
        ([stored, seen, seen], as_seen(COLOURS, 3), "2 are to be turned accordingly and 0 .* they are turned"),
        ([stored, seen, stored], as_seen(COLOURS, 3), "1 are to be turned accordingly and 1 .* they are turned"),
    ):
        pictures = FolderPictures(tmp_path, names, sizes=np.array(told))
        assert np.array_equal(pictures.pixels(0), expected)
        (note,) = pictures.notes
        assert note.startswith("3 of 3 pictures looked at have a camera's orientation mark: by their annotated sizes")
        assert re.search(words, note)
    assert FolderPictures(tmp_path, names, exif="stored").notes[0].endswith("as stored (exif=turn, exif=stored)")
    Image.fromarray(COLOURS).save(tmp_path / "plain.png")
    assert FolderPictures(tmp_path, ["plain.png"]).notes == ()


def test_the_switch_in_the_name_of_a_data_set(tmp_path):
    (tmp_path / "images").mkdir()
    marked(tmp_path / "images" / "a.png", 6)
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "height": 12, "width": 16}],
        "annotations": [],
        "categories": [{"id": 1, "name": "a"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(truth))
    spec = f"coco:{tmp_path / 'a.json'},{tmp_path / 'images'}"
    data = open_data(spec)
    assert np.array_equal(data.load(0)[0].permute(1, 2, 0).numpy(), COLOURS)
    assert "1 of 1 pictures looked at have a camera's orientation mark" in data.notes[0]
    with pytest.raises(InputError, match=r"12 x 16 pixels .* 16 x 12\. Use .* or leave out exif="):
        open_data(f"{spec},exif=turn").load(0)
    with pytest.raises(InputError, match="exif must be one of auto, turn, stored, got 'yes'"):
        open_data(f"{spec},exif=yes")


def encoded(kind):
    file = io.BytesIO()
    Image.fromarray(COLOURS).save(file, kind)
    return file.getvalue()


FILES = {kind: encoded(kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_a_damaged_file_is_a_picture_or_an_error_that_names_it(tmp_path_factory, kind, data):
    content = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.png"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pixels, problem = read(path), None
        except InputError as error:
            pixels, problem = None, str(error)
    assert problem.startswith(f"{path}: ") if problem else pixels.dtype == np.uint8
    assert problem or pixels.ndim == 3

"""Open Images' mask strings: base64(zlib(COCO compressed RLE))."""

import base64
import binascii
import zlib

__all__ = ["decode_mask", "encode_mask"]

# An RLE text is far below this; what unpacks to more is damaged, or meant to fill the memory.
_LARGEST = 64 << 20


def encode_mask(counts: bytes) -> str:
    """Return the mask string of a compressed RLE text (specification: evaluation, sec. 3 item 10)."""
    return base64.b64encode(zlib.compress(counts, zlib.Z_BEST_COMPRESSION)).decode("ascii")


def decode_mask(text: str) -> bytes:
    """Return the compressed RLE text of a mask string.

    Raises:
        ValueError: If it is not base64, not zlib, or unpacks to more than 64 MB; the message says which.
    """
    try:
        packed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        hint = "; it is a Python bytes literal" if text.startswith(("b'", 'b"')) else ""
        raise ValueError(f"is not base64{hint}") from error
    unpacker = zlib.decompressobj()
    try:
        counts = unpacker.decompress(packed, _LARGEST)
    except zlib.error as error:
        raise ValueError("is not compressed by zlib") from error
    if not unpacker.eof:
        raise ValueError("is cut off, or larger than any mask")
    return counts

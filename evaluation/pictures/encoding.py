"""Pictures as bytes of JPEG files."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["jpeg_bytes"]

_QUALITIES = (90, 80, 70, 60, 50)


def jpeg_bytes(image: "Image", most: int | None = None) -> bytes:
    """Encode a picture as JPEG; thin coloured lines keep their colour.

    Args:
        image: Of mode RGB.
        most: Bytes that it may take. First its quality is lowered to fit, then it is made smaller; at 64 pixels it is
            returned as it is.
    """
    for quality in _QUALITIES:
        sink = io.BytesIO()
        image.save(sink, "jpeg", quality=quality, subsampling=0)
        if most is None or sink.tell() <= most:
            return sink.getvalue()
    if max(image.size) <= 64:
        return sink.getvalue()
    smaller = image.copy()
    smaller.thumbnail((3 * image.width // 4, 3 * image.height // 4))
    return jpeg_bytes(smaller, most)

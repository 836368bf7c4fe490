"""Writing pictures of images into a folder, one at a time, with a page to look through them."""

import io
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from html import escape
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from evaluation.pictures.encoding import jpeg_bytes
from evaluation.pictures.sheet import draw_sheet
from fusion.errors import InputError
from fusion.kernels.jit import threads

if TYPE_CHECKING:
    from evaluation.pictures.gallery import Gallery, Shown

__all__ = ["file_name", "require_pictures", "write_pictures"]

_LONGEST = 50  # signs of a file's name beside its number
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px sans-serif;margin:1rem;color-scheme:light dark}}figure{{margin:0 0 2rem}}img{{max-width:100%}}
</style></head><body>
<h1>{title}</h1>
{figures}
</body></html>
"""
_FIGURE = (
    '<figure><a href="{url}"><img loading="lazy" src="{url}" alt="{alt}"></a><figcaption>{title}</figcaption></figure>'
)


def require_pictures(gallery: "Gallery", chosen: "Sequence[Shown]") -> None:
    """Require that the folder has a picture of some image that was chosen.

    Raises:
        InputError: If it has none of them.
    """
    folder = gallery.folder
    if folder is None or not chosen or any(folder.find(shown.place) is not None for shown in chosen):
        return
    names = [str(gallery.truth.file_name[shown.place] or shown.image_id) for shown in chosen[:3]]
    raise InputError(
        folder.folder,
        f"has a picture of none of the {len(chosen):,} images, such as {', '.join(map(repr, names))}",
        "Name the folder that has them, or leave it out to draw on empty frames",
    )


def write_pictures(
    chosen: "Sequence[Shown]",
    folder: Path,
    kind: str = "jpg",
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """Write a picture of each image, and index.html; memory does not grow with their number.

    Args:
        chosen: The images.
        folder: An empty one. Names of files begin with the rank.
        kind: "jpg" or "png".
        progress: Called with the number of pictures that are written.

    Returns:
        What could not be shown, in words.
    """
    said, figures = [], []
    for shown, (content, lines) in zip(chosen, _drawn(chosen, kind), strict=True):
        name = file_name(shown, len(chosen), kind)
        (folder / name).write_bytes(content)
        said += lines
        figures.append(_FIGURE.format(url=quote(name), alt=escape(shown.alt), title=escape(shown.title)))
        if progress is not None:
            progress(shown.rank)
    title = "Ground truth and " + ", ".join(own.name for own in chosen[0].gallery.verdicts) if chosen else "No image"
    page = _PAGE.format(title=escape(title), figures="\n".join(figures))
    (folder / "index.html").write_text(page, encoding="utf-8")
    return said


def _drawn(chosen: "Sequence[Shown]", kind: str) -> Iterator[tuple[bytes, list[str]]]:
    """Yield files and what they could not show, in order; each thread is ahead by two pictures at most."""

    def file(shown: "Shown") -> tuple[bytes, list[str]]:
        sheet, lines = draw_sheet(shown)
        if kind == "jpg":
            return jpeg_bytes(sheet), lines
        sink = io.BytesIO()
        sheet.save(sink, "png")
        return sink.getvalue(), lines

    ahead: deque[Future[tuple[bytes, list[str]]]] = deque()
    with ThreadPoolExecutor(threads()) as pool:
        try:
            for shown in chosen:
                ahead.append(pool.submit(file, shown))
                if len(ahead) > 2 * threads():
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def file_name(shown: "Shown", count: int, kind: str) -> str:
    """Return the name of a picture's file: its rank among so many, then that of the image's file, or its id."""
    stem = PurePosixPath(str(shown.gallery.truth.file_name[shown.place])).stem or str(shown.image_id)
    plain = re.sub(r"[^\w.-]+", "_", stem)[:_LONGEST]
    return f"{shown.rank:0{len(str(count))}d}-{plain}.{kind}"

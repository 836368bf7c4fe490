"""Checking a submission that is there already, one's own or anybody's."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.submissions.audit import Audit
from evaluation.submissions.coco_file import MAX_RATIO, check_json, check_name, check_size, unpacked
from evaluation.submissions.image_list import COCO_CATEGORIES, LVIS_CATEGORIES, ImageList
from evaluation.submissions.open_images_file import CsvSubmission, check_csv
from evaluation.submissions.report import Findings, Report
from evaluation.submissions.writing import CAPS, image_list
from fusion.checks import at_least, one_of
from fusion.errors import InputError

__all__ = ["check_submission"]


def check_submission(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word that users know it by
    images: ImageList | GroundTruth | str | os.PathLike[str] | None = None,
    split: str | None = None,
    max_ratio: float = MAX_RATIO,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check an existing submission, in pieces; the memory beyond that is about 20 bytes per detection.

    Whatever the file itself has in fault is in the report, never raised. A zip archive is unpacked to
    the system's folder for temporary files (TMPDIR).

    Args:
        path: A COCO or LVIS results file (JSON, or a zip archive with it), or an Open Images CSV file of
            Kaggle's forms or the official evaluator's.
        format: One of `CAPS`; by default it is told from the content. LVIS is told from COCO by the
            image list, whose categories have frequency groups.
        images: The split: an image list, a ground truth, or the file of one. Without it ids, sizes and
            missing images are not checked, categories only by COCO's or LVIS's ids.
        split: Name of the split that the file is for.
        max_ratio: How many times as large as an archive the file in it may be; up to 64 MB it always may.
        progress: Called with the bytes read so far and in all.

    Raises:
        InputError: If there is no such file, an option is wrong, the image list cannot be used, or there is no room
            to unpack an archive.
    """
    place = Path(path)
    if not place.is_file():
        raise InputError(place, "there is no such file", "Name the submission's file")
    if format is not None:
        one_of("format", format, tuple(CAPS))
    findings = Findings()
    with place.open("rb") as file:
        head = file.read(512)
    zipped = head.startswith(b"PK")
    if not zipped:
        return _check(place, place, head, findings, format, images, split, progress)
    at_least("max_ratio", max_ratio, 1)
    with unpacked(place, findings, max_ratio) as inner:
        if inner is None:
            return _unread(place, format or "coco", findings)
        with inner.open("rb") as file:
            head = file.read(512)
        return _check(place, inner, head, findings, format, images, split, progress)


def _check(
    source: Path,
    path: Path,
    head: bytes,
    findings: Findings,
    form: str | None,
    images: ImageList | GroundTruth | str | os.PathLike[str] | None,
    split: str | None,
    progress: Callable[[int, int], None] | None,
) -> Report:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text or text[:1] in b"[{" or path.suffix == ".json":
        return _check_json(source, path, findings, form, images, split, progress)
    listed = None if images is None else image_list(images, "openimages-detection").with_text_ids()
    try:
        submission = CsvSubmission(path, findings, progress)
    except InputError as error:
        findings.add("error", f"is no submission: {error.problem}", 1, [source.name], error.remedy)
        return _unread(source, form or "unknown", findings)
    if form not in (None, submission.form):
        findings.add("error", f"the columns are those of {submission.form}, not of {form}", 1, [source.name])
    known = None
    if listed is not None and listed.category_label is not None:
        known = np.array(listed.category_label, dtype=object)
    audit = Audit(findings, listed, known, CAPS[submission.form])
    complete = check_csv(submission, audit, findings, listed)
    return _report(source, submission.form, submission.iou_type, audit, findings, listed, complete)


def _check_json(
    source: Path,
    path: Path,
    findings: Findings,
    form: str | None,
    images: ImageList | GroundTruth | str | os.PathLike[str] | None,
    split: str | None,
    progress: Callable[[int, int], None] | None,
) -> Report:
    listed = None if images is None else image_list(images, "coco")
    form = form or ("lvis" if listed is not None and listed.federated else "coco")
    if form not in ("coco", "lvis"):
        findings.add("error", f"the file is JSON, and {form} is CSV", 1, [source.name])
        form = "coco"
    if form == "coco":
        check_name(path.name, split, findings)
        if path is source:
            remedy = "COCO's servers take a zip archive with the JSON file and nothing else"
            findings.add("error", "the file is not in a zip archive", 1, [source.name], remedy)
    known = COCO_CATEGORIES if form == "coco" else LVIS_CATEGORIES
    if listed is not None and listed.category_id is not None:
        known = listed.category_id
    audit = Audit(findings, listed, known, CAPS[form])

    def size_of(image: int | str | None, _name: str | None) -> tuple[int, int] | None:
        if listed is None or image is None:
            return None
        place = int(listed.places(np.array([image], dtype=object if isinstance(image, str) else np.int64))[0])
        return (int(listed.height[place]), int(listed.width[place])) if place >= 0 and listed.height[place] else None

    texts = None if listed is None else listed.image_id.dtype == object
    complete = check_json(path, audit, findings, size_of, texts, progress)
    check_size(source.stat().st_size, source.name, findings)
    iou_type = "segm" if audit.masks else "bbox"
    return _report(source, form, iou_type, audit, findings, listed, complete)


def _report(
    source: Path,
    form: str,
    iou_type: str,
    audit: Audit,
    findings: Findings,
    listed: ImageList | None,
    complete: bool,
) -> Report:
    audit.finish(complete=complete)
    return Report(
        source=str(source),
        format=form,
        iou_type=iou_type,
        detections=audit.detections,
        images=audit.image_count,
        listed=None if listed is None else len(listed),
        size=source.stat().st_size,
        packed=None,
        findings=findings.all(),
    )


def _unread(source: Path, form: str, findings: Findings) -> Report:
    size = source.stat().st_size
    return Report(
        source=str(source), format=form, iou_type="bbox", detections=0, images=0, listed=None, size=size, packed=None,
        findings=findings.all(),
    )  # fmt: skip

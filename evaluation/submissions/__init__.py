"""Submissions to leaderboards: written from tables, checked, read back."""

from evaluation.submissions.checking import check_submission
from evaluation.submissions.coco_file import read_coco_submission
from evaluation.submissions.image_list import ImageList, read_image_list
from evaluation.submissions.open_images_file import read_open_images_submission
from evaluation.submissions.report import Finding, Report
from evaluation.submissions.writing import Submission, write_submission

__all__ = [
    "Finding",
    "ImageList",
    "Report",
    "Submission",
    "check_submission",
    "read_coco_submission",
    "read_image_list",
    "read_open_images_submission",
    "write_submission",
]

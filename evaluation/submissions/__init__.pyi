"""The names of the package and their types."""

from evaluation.submissions.checking import check_submission as check_submission
from evaluation.submissions.coco_file import read_coco_submission as read_coco_submission
from evaluation.submissions.image_list import ImageList as ImageList
from evaluation.submissions.image_list import read_image_list as read_image_list
from evaluation.submissions.open_images_file import read_open_images_submission as read_open_images_submission
from evaluation.submissions.report import Finding as Finding
from evaluation.submissions.report import Report as Report
from evaluation.submissions.writing import Submission as Submission
from evaluation.submissions.writing import write_submission as write_submission

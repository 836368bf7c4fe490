"""The names of the package and their types."""

from evaluation.annotations import read_ground_truth as read_ground_truth
from evaluation.attached import Attached as Attached
from evaluation.coco_ground_truth import read_coco as read_coco
from evaluation.ground_truth import GroundTruth as GroundTruth
from evaluation.label_errors import find_label_errors as find_label_errors
from evaluation.measured import CategoryResult as CategoryResult
from evaluation.objects import read_objects as read_objects
from evaluation.objects import to_objects as to_objects
from evaluation.open_images import PreparedOpenImages as PreparedOpenImages
from evaluation.open_images_csv import read_open_images as read_open_images
from evaluation.open_images_result import OpenImagesResult as OpenImagesResult
from evaluation.pictures import show as show
from evaluation.prepared import Prepared as Prepared
from evaluation.prepared import evaluate as evaluate
from evaluation.prepared import prepare as prepare
from evaluation.protocol import Coco as Coco
from evaluation.protocol import Lvis as Lvis
from evaluation.protocol import OpenImages as OpenImages
from evaluation.result import CocoResult as CocoResult
from evaluation.results import read_results as read_results
from evaluation.results import write_results as write_results
from evaluation.stored import evaluate_stored as evaluate_stored
from evaluation.suspects import Suspects as Suspects

from . import analysis as analysis
from . import calibration as calibration
from . import comparison as comparison
from . import pictures as pictures
from . import results as results
from . import statistics as statistics
from . import submissions as submissions

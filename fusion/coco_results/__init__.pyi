"""The names of the package and their types."""

from fusion.coco_results.raw_results import Pieces as Pieces
from fusion.coco_results.raw_results import RawResults as RawResults
from fusion.coco_results.reader import gather_coco_results as gather_coco_results
from fusion.coco_results.reader import read_coco_results as read_coco_results
from fusion.coco_results.reading import AS_FOUND as AS_FOUND
from fusion.coco_results.reading import Reading as Reading
from fusion.coco_results.vocabulary import Vocabulary as Vocabulary
from fusion.coco_results.writer import write_coco_results as write_coco_results

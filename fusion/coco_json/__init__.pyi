"""The names of the package and their types."""

from fusion.coco_json.reader import RawResults as RawResults
from fusion.coco_json.reader import gather_coco_results as gather_coco_results
from fusion.coco_json.reader import read_coco_results as read_coco_results
from fusion.coco_json.reading import AS_FOUND as AS_FOUND
from fusion.coco_json.reading import Reading as Reading
from fusion.coco_json.vocabulary import Vocabulary as Vocabulary
from fusion.coco_json.writer import write_coco_results as write_coco_results

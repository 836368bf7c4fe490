"""The names of the package and their types, written by `python -m fusion.functions`."""

from collections.abc import Mapping as Mapping
from collections.abc import Sequence as Sequence

from fusion.box_corrections import BoxCorrection as BoxCorrection
from fusion.coco_results import Reading as Reading
from fusion.coco_results import read_coco_results as read_coco_results
from fusion.coco_results import write_coco_results as write_coco_results
from fusion.errors import InputError as InputError
from fusion.folding import fold_hierarchy as fold_hierarchy
from fusion.hierarchy import Hierarchy as Hierarchy
from fusion.hierarchy import read_hierarchy as read_hierarchy
from fusion.recipe import Recipe as Recipe
from fusion.recipe_file import read_recipe as read_recipe
from fusion.recipe_file import write_recipe as write_recipe
from fusion.recipe_toml import parse_recipe as parse_recipe
from fusion.relations import Relations as Relations
from fusion.run import apply as apply
from fusion.run import trace as trace
from fusion.scales import Scales as Scales
from fusion.score_maps import CategoryMaps as CategoryMaps
from fusion.score_maps import ScoreMap as ScoreMap
from fusion.score_models import ScoreModel as ScoreModel
from fusion.soft_masks import soft_mask_array as soft_mask_array
from fusion.steps.adj_nms import AdjNms as AdjNms
from fusion.steps.calibrate import Calibrate as Calibrate
from fusion.steps.cluster_diou_nms import ClusterDiouNms as ClusterDiouNms
from fusion.steps.concat import Concat as Concat
from fusion.steps.consensus import Consensus as Consensus
from fusion.steps.cooccurrence import Cooccurrence as Cooccurrence
from fusion.steps.correct_boxes import CorrectBoxes as CorrectBoxes
from fusion.steps.dropout import Dropout as Dropout
from fusion.steps.expand_hierarchy import ExpandHierarchy as ExpandHierarchy
from fusion.steps.mask_nms import MaskNms as MaskNms
from fusion.steps.matrix_nms import MatrixNms as MatrixNms
from fusion.steps.merge_scales import MergeScales as MergeScales
from fusion.steps.merge_slices import MergeSlices as MergeSlices
from fusion.steps.nms import Nms as Nms
from fusion.steps.nms_then_soft import NmsThenSoft as NmsThenSoft
from fusion.steps.nmw import Nmw as Nmw
from fusion.steps.prob_fusion import ProbFusion as ProbFusion
from fusion.steps.rescore import Rescore as Rescore
from fusion.steps.reweight import Reweight as Reweight
from fusion.steps.select_experts import SelectExperts as SelectExperts
from fusion.steps.select_views import SelectViews as SelectViews
from fusion.steps.soft_nms import SoftNms as SoftNms
from fusion.steps.support import Support as Support
from fusion.steps.surround import Surround as Surround
from fusion.steps.vote import Vote as Vote
from fusion.steps.vote_masks import VoteMasks as VoteMasks
from fusion.steps.wbf import Wbf as Wbf
from fusion.storage import read_table as read_table
from fusion.storage import write_table as write_table
from fusion.table import DetectionTable as DetectionTable
from fusion.table import Metadata as Metadata
from fusion.weights import build_weights as build_weights

from . import per_image as per_image

def adj_nms(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    iou: float = 0.5,
    sigma: float = 0.5,
    floor: float = 0.001,
    device: str = "cpu",
) -> DetectionTable: ...
def calibrate(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    maps: Mapping[str, ScoreMap | CategoryMaps],
    device: str = "cpu",
) -> DetectionTable: ...
def cluster_diou_nms(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    iou: float = 0.5,
    device: str = "cpu",
) -> DetectionTable: ...
def concat(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    max_per_image: int | None = None,
    device: str = "cpu",
) -> DetectionTable: ...
def consensus(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    min_members: int = 2,
    iou: float = 0.5,
    device: str = "cpu",
) -> DetectionTable: ...
def cooccurrence(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    relations: Relations,
    probability: str = "conditional",
    given: float = 0.5,
    least: float = 0.1,
    support: int = 20,
    device: str = "cpu",
) -> DetectionTable: ...
def correct_boxes(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    corrections: Mapping[str, BoxCorrection],
    masks: str = "keep",
    device: str = "cpu",
) -> DetectionTable: ...
def dropout(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    part: str = "scores",
    iou: float = 0.5,
    device: str = "cpu",
) -> DetectionTable: ...
def expand_hierarchy(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    parents: Mapping[int, Sequence[int]],
    keep_all: bool = False,
    device: str = "cpu",
) -> DetectionTable: ...
def mask_nms(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    iou: float = 0.5,
    across_categories: bool = False,
    device: str = "cpu",
) -> DetectionTable: ...
def matrix_nms(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    floor: float = 0.001,
    device: str = "cpu",
) -> DetectionTable: ...
def merge_scales(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    scales: Scales = ...,
    iou: float = 0.7,
    method: str = "gaussian",
    sigma: float = 0.5,
    soft_iou: float = 0.5,
    floor: float = 0.001,
    device: str = "cpu",
) -> DetectionTable: ...
def merge_slices(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    offsets: Mapping[str, Sequence[int]],
    measure: str = "ios",
    threshold: float = 0.5,
    merge: str = "union",
    device: str = "cpu",
) -> DetectionTable: ...
def nms(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    iou: float = 0.5,
    across_categories: bool = False,
    device: str = "cpu",
) -> DetectionTable: ...
def nms_then_soft(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    iou: float = 0.7,
    method: str = "gaussian",
    sigma: float = 0.5,
    soft_iou: float = 0.5,
    floor: float = 0.001,
    device: str = "cpu",
) -> DetectionTable: ...
def nmw(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    iou: float = 0.55,
    weights: Mapping[str, float] | None = None,
    box_weights: Mapping[str, Sequence[float]] | None = None,
    skip_box_threshold: float = 0.0,
    device: str = "cpu",
) -> DetectionTable: ...
def prob_fusion(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    iou: float = 0.5,
    device: str = "cpu",
) -> DetectionTable: ...
def rescore(
    instances: DetectionTable,
    voters: Sequence[DetectionTable],
    *,
    model: ScoreModel,
    device: str = "cpu",
) -> DetectionTable: ...
def reweight(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    weights: Mapping[str, float | Mapping[int, float]],
    builder: str = "by hand",
    device: str = "cpu",
) -> DetectionTable: ...
def select_experts(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    categories: Mapping[str, Sequence[int]],
    mode: str = "take",
    weights: Mapping[str, float | Mapping[int, float]] = ...,
    gate: bool = False,
    device: str = "cpu",
) -> DetectionTable: ...
def select_views(
    instances: DetectionTable,
    voters: Sequence[DetectionTable],
    *,
    views: Sequence[Sequence[str]],
    side: float = 56.0,
    ratio: float = 0.25,
    rule: str = "area",
    device: str = "cpu",
) -> DetectionTable: ...
def soft_nms(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou: float = 0.5,
    floor: float = 0.001,
    across_categories: bool = False,
    device: str = "cpu",
) -> DetectionTable: ...
def support(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    factor: float = 0.5,
    iou: float = 0.5,
    device: str = "cpu",
) -> DetectionTable: ...
def surround(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    relations: Relations,
    rate: float = 0.3,
    up: float = 0.5,
    down: float = 0.5,
    support: int = 20,
    device: str = "cpu",
) -> DetectionTable: ...
def vote(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    k: int = 4,
    score: float = 0.05,
    box: float = 0.3,
    iou: float = 0.5,
    box_weights: Mapping[str, Sequence[float]] | None = None,
    across_categories: bool = False,
    device: str = "cpu",
) -> DetectionTable: ...
def vote_masks(
    instances: DetectionTable,
    voters: Sequence[DetectionTable],
    *,
    iou: float = 0.5,
    threshold: float = 0.5,
    weights: Mapping[str, float] | None = None,
    tighten: bool = False,
    across_categories: bool = False,
    device: str = "cpu",
) -> DetectionTable: ...
def wbf(
    tables: DetectionTable | Sequence[DetectionTable],
    *,
    iou: float = 0.55,
    conf_type: str = "avg",
    weights: Mapping[str, float] | None = None,
    box_weights: Mapping[str, Sequence[float]] | None = None,
    skip_box_threshold: float = 0.0,
    allows_overflow: bool = False,
    across_categories: bool = False,
    device: str = "cpu",
) -> DetectionTable: ...

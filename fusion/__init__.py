"""Detection tables, and everything that turns several tables into one."""

from fusion.coco_json import Reading, read_coco_results, write_coco_results
from fusion.errors import InputError
from fusion.folding import fold_hierarchy
from fusion.hierarchy import Hierarchy, read_hierarchy
from fusion.recipe import Recipe
from fusion.recipe_toml import parse_recipe, read_recipe, write_recipe
from fusion.relations import Relations
from fusion.run import apply, trace
from fusion.scales import Scales
from fusion.score_maps import CategoryMaps, ScoreMap
from fusion.soft_masks import soft_mask_array
from fusion.steps.adj_nms import AdjNms, adj_nms
from fusion.steps.calibrate import Calibrate, calibrate
from fusion.steps.concat import Concat, concat
from fusion.steps.consensus import Consensus, consensus
from fusion.steps.cooccurrence import Cooccurrence, cooccurrence
from fusion.steps.dropout import Dropout, dropout
from fusion.steps.expand_hierarchy import ExpandHierarchy, expand_hierarchy
from fusion.steps.mask_nms import MaskNms, mask_nms
from fusion.steps.merge_scales import MergeScales, merge_scales
from fusion.steps.nms import Nms, nms
from fusion.steps.nms_then_soft import NmsThenSoft, nms_then_soft
from fusion.steps.nmw import Nmw, nmw
from fusion.steps.prob_fusion import ProbFusion, prob_fusion
from fusion.steps.reweight import Reweight, reweight
from fusion.steps.select_experts import SelectExperts, select_experts
from fusion.steps.select_views import SelectViews, select_views
from fusion.steps.soft_nms import SoftNms, soft_nms
from fusion.steps.support import Support, support
from fusion.steps.surround import Surround, surround
from fusion.steps.vote import Vote, vote
from fusion.steps.vote_masks import VoteMasks, vote_masks
from fusion.steps.wbf import Wbf, wbf
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata
from fusion.weights import build_weights

__all__ = [
    "AdjNms",
    "Calibrate",
    "CategoryMaps",
    "Concat",
    "Consensus",
    "Cooccurrence",
    "DetectionTable",
    "Dropout",
    "ExpandHierarchy",
    "Hierarchy",
    "InputError",
    "MaskNms",
    "MergeScales",
    "Metadata",
    "Nms",
    "NmsThenSoft",
    "Nmw",
    "ProbFusion",
    "Reading",
    "Recipe",
    "Relations",
    "Reweight",
    "Scales",
    "ScoreMap",
    "SelectExperts",
    "SelectViews",
    "SoftNms",
    "Support",
    "Surround",
    "Vote",
    "VoteMasks",
    "Wbf",
    "adj_nms",
    "apply",
    "build_weights",
    "calibrate",
    "concat",
    "consensus",
    "cooccurrence",
    "dropout",
    "expand_hierarchy",
    "fold_hierarchy",
    "mask_nms",
    "merge_scales",
    "nms",
    "nms_then_soft",
    "nmw",
    "parse_recipe",
    "prob_fusion",
    "read_coco_results",
    "read_hierarchy",
    "read_recipe",
    "read_table",
    "reweight",
    "select_experts",
    "select_views",
    "soft_mask_array",
    "soft_nms",
    "support",
    "surround",
    "trace",
    "vote",
    "vote_masks",
    "wbf",
    "write_coco_results",
    "write_recipe",
    "write_table",
]

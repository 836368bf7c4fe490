"""Detection tables, and everything that turns several tables into one."""

from fusion.calibrate import Calibrate, ScoreMap, calibrate
from fusion.coco_json import read_coco_results, write_coco_results
from fusion.concat import Concat, concat
from fusion.consensus import Consensus, consensus
from fusion.errors import InputError
from fusion.nms import Nms, nms
from fusion.nmw import Nmw, nmw
from fusion.pool import apply, trace
from fusion.prob_fusion import ProbFusion, prob_fusion
from fusion.recipe import Recipe
from fusion.recipe_toml import parse_recipe, read_recipe, write_recipe
from fusion.reweight import Reweight, build_weights, reweight
from fusion.soft_nms import AdjNms, NmsThenSoft, SoftNms, adj_nms, nms_then_soft, soft_nms
from fusion.support import Support, support
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata
from fusion.vote import Vote, vote
from fusion.wbf import Wbf, wbf

__all__ = [
    "AdjNms",
    "Calibrate",
    "Concat",
    "Consensus",
    "DetectionTable",
    "InputError",
    "Metadata",
    "Nms",
    "NmsThenSoft",
    "Nmw",
    "ProbFusion",
    "Recipe",
    "Reweight",
    "ScoreMap",
    "SoftNms",
    "Support",
    "Vote",
    "Wbf",
    "adj_nms",
    "apply",
    "build_weights",
    "calibrate",
    "concat",
    "consensus",
    "nms",
    "nms_then_soft",
    "nmw",
    "parse_recipe",
    "prob_fusion",
    "read_coco_results",
    "read_recipe",
    "read_table",
    "reweight",
    "soft_nms",
    "support",
    "trace",
    "vote",
    "wbf",
    "write_coco_results",
    "write_recipe",
    "write_table",
]

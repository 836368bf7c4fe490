"""Why the figures are as they are: errors, curves, calibration, confusion, and what each member brings."""

from evaluation.analysis.calibration_curve import Calibration, calibration_curve
from evaluation.analysis.confusion import Confusion, confusion_matrix
from evaluation.analysis.contributions import Contributions, analyze_contributions
from evaluation.analysis.curves import BestF1, best_f1, curve_frame, mean_curve
from evaluation.analysis.ensemble_analysis import EnsembleAnalysis, analyze_ensemble
from evaluation.analysis.errors import Errors, analyze_errors
from evaluation.analysis.members import Members, analyze_members
from evaluation.analysis.overlaps import Overlaps, find_overlaps
from evaluation.analysis.sizes import size_frame
from evaluation.analysis.table_analysis import TableAnalysis, analyze_table

__all__ = [
    "BestF1",
    "Calibration",
    "Confusion",
    "Contributions",
    "EnsembleAnalysis",
    "Errors",
    "Members",
    "Overlaps",
    "TableAnalysis",
    "analyze_contributions",
    "analyze_ensemble",
    "analyze_errors",
    "analyze_members",
    "analyze_table",
    "best_f1",
    "calibration_curve",
    "confusion_matrix",
    "curve_frame",
    "find_overlaps",
    "mean_curve",
    "size_frame",
]

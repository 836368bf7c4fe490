"""The names of the package and their types."""

from evaluation.analysis.calibrated import Calibration as Calibration
from evaluation.analysis.calibrated import calibration_curve as calibration_curve
from evaluation.analysis.confusion import Confusion as Confusion
from evaluation.analysis.confusion import confusion_matrix as confusion_matrix
from evaluation.analysis.contributions import Contributions as Contributions
from evaluation.analysis.contributions import analyze_contributions as analyze_contributions
from evaluation.analysis.curves import BestF1 as BestF1
from evaluation.analysis.curves import best_f1 as best_f1
from evaluation.analysis.curves import curve_frame as curve_frame
from evaluation.analysis.ensemble_analysis import EnsembleAnalysis as EnsembleAnalysis
from evaluation.analysis.ensemble_analysis import analyze_ensemble as analyze_ensemble
from evaluation.analysis.errors import Errors as Errors
from evaluation.analysis.errors import analyze_errors as analyze_errors
from evaluation.analysis.members import Members as Members
from evaluation.analysis.members import analyze_members as analyze_members
from evaluation.analysis.overlaps import Overlaps as Overlaps
from evaluation.analysis.overlaps import find_overlaps as find_overlaps
from evaluation.analysis.parts_analysis import analyze_parts as analyze_parts
from evaluation.analysis.sizes import size_frame as size_frame
from evaluation.analysis.table_analysis import TableAnalysis as TableAnalysis
from evaluation.analysis.table_analysis import analyze_table as analyze_table
from evaluation.curves import mean_curve as mean_curve

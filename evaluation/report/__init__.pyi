"""The names of the package and their types."""

from evaluation.report.blocks import Chart as Chart
from evaluation.report.blocks import Choice as Choice
from evaluation.report.blocks import Intervals as Intervals
from evaluation.report.blocks import Matrix as Matrix
from evaluation.report.blocks import PagePicture as PagePicture
from evaluation.report.blocks import PagePictures as PagePictures
from evaluation.report.blocks import Series as Series
from evaluation.report.blocks import Sortable as Sortable
from evaluation.report.blocks import Thresholds as Thresholds
from evaluation.report.blocks import Words as Words
from evaluation.report.material import Material as Material
from evaluation.report.page import Page as Page
from evaluation.report.page import Section as Section
from evaluation.report.sections import sections_of as sections_of

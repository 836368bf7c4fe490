"""The names of the package and their types."""

from evaluation.readings.check import OtherReadingError as OtherReadingError
from evaluation.readings.check import check_reading as check_reading
from evaluation.readings.tables import check_table as check_table

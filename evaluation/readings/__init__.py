"""Whether results mean what they seem to mean: files in `check`, tables in `tables`."""

from evaluation.readings.check import OtherReadingError, check_reading
from evaluation.readings.tables import check_table

__all__ = ["OtherReadingError", "check_reading", "check_table"]

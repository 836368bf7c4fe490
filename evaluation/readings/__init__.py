"""Whether a results file means what it seems to mean; see `evaluation.readings.check`."""

from evaluation.readings.check import OtherReadingError, check_reading

__all__ = ["OtherReadingError", "check_reading"]

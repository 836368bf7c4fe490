"""Whether a results file means what it seems to mean; see `evaluation.readings.check`."""

from evaluation.readings.check import check_reading

__all__ = ["check_reading"]

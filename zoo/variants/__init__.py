"""The systems of the reports, variant by variant."""

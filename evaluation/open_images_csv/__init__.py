"""Open Images' CSV files of boxes, image labels, masks and class descriptions, as ground truth."""

from evaluation.open_images_csv.reader import read_open_images

__all__ = ["read_open_images"]

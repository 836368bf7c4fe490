"""The names of the package and their types."""

from evaluation.open_images_csv.reader import read_open_images as read_open_images

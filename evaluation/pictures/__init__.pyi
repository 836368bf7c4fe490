"""The names of the package and their types."""

from evaluation.pictures.encoding import jpeg_bytes as jpeg_bytes
from evaluation.pictures.gallery import Gallery as Gallery
from evaluation.pictures.gallery import Shown as Shown
from evaluation.pictures.gallery import show as show

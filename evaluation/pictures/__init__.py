"""Pictures of detections: ground truth and what tables found, side by side, image by image.

`show` makes a `Gallery`, whose choices of images (`worst`, `most_improved`, ...) are `Shown`: each draws itself when
asked (`draw`), and has a text for those who cannot see it (`alt`). `jpeg_bytes` encodes a picture within so many bytes,
as pages in one file need.
"""

from fusion.lazily import attach

__getattr__, __dir__ = attach(__name__)

"""Makes the reader of COCO results take its careful path for everything."""

from contextlib import contextmanager

import msgspec
import pytest

from fusion.coco_results import reader


class Refusing:
    """Stands in for the fast parser."""

    def decode(self, text):
        raise msgspec.DecodeError


@contextmanager
def only_careful(careful=True):
    with pytest.MonkeyPatch.context() as patch:
        if careful:
            patch.setattr(reader, "_PLAIN", Refusing())
            patch.setattr(reader, "_NAMED", Refusing())
        yield

"""Makes the reader of COCO results take its careful path for everything."""

from contextlib import contextmanager

import msgspec
import pytest

from fusion.coco_results import raw_results


class Refusing:
    """Stands in for the fast parser."""

    def decode(self, text):
        raise msgspec.DecodeError


@contextmanager
def only_careful(careful=True):
    with pytest.MonkeyPatch.context() as patch:
        if careful:
            patch.setattr(raw_results, "_PLAIN", Refusing())
            patch.setattr(raw_results, "_NAMED", Refusing())
        yield

"""What the twins' tests share."""

import pytest


@pytest.fixture
def on_gpu(backend, monkeypatch):
    """Let nothing go to the CPU in silence."""
    if backend == "cuda":
        from fusion.cuda import session

        def refuse(step, tables):
            raise AssertionError(f"{step} was given to the CPU")

        monkeypatch.setattr(session, "fuse_tables", refuse)

"""What all tests share: the same random examples in every run, and the commands in process.

`--hypothesis-profile=explore` draws new examples.
"""

import pytest
from hypothesis import settings

import quorum

settings.register_profile("explore", derandomize=False)
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")


@pytest.fixture
def run(capsys):
    """Run a command: its exit code, and what it printed on standard output and standard error."""

    def call(*arguments):
        try:
            quorum.main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return call

"""Where a command writes to, and how it prints."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fusion.printed_table import TableForm

__all__ = ["Form", "Html", "Output"]

Output = Annotated[Path, Parameter(name=("--output", "-o"))]
Html = Annotated[Path | None, Parameter(name="--html")]
Form = Annotated[TableForm, Parameter(name="--format")]

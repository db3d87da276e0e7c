"""A mark that tells whoever started a run that the run got on since it was started."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PROGRESS_MARK_VARIABLE = "BSOU_PROGRESS"
"""Environment variable with the path of the mark. The batch script of a job sets it: a run that
fails after it got on is worth going on with.
"""


def mark_progress() -> None:
    """Leave the mark, where one is asked for: there is a new checkpoint to go on from."""
    path = os.environ.get(PROGRESS_MARK_VARIABLE)
    if path:
        with suppress(OSError):  # the run itself is well
            Path(path).touch()

"""`bsou` as a rank under a launcher: a run that was told to stop ends well, and leaves a mark.

Launchers know success and failure only. To exit codes 75 and 130 (saved; the same command goes on)
they would answer by ending the other ranks, which may not be done yet, and by starting all of them
anew. `common.sh` turns the mark into the exit code again.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path

# REQUEUE and INTERRUPTED of bsou_dist/common/exit_codes.py, which cannot be imported before the
# path is set below.
STOPPED_CODES = (75, 130)

# A signal that comes before `bsou` has handlers would end this rank, and be taken for a failure; it
# waits until then.
signal.pthread_sigmask(
    signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
)

sys.path[0] = str(Path.cwd())  # as python -m has it
try:
    runpy.run_module("bsou_dist.cli", run_name="__main__", alter_sys=True)
except SystemExit as end:
    if end.code not in STOPPED_CODES:
        raise
    Path(os.environ["BSOU_STOPPED"]).write_text(f"{end.code}\n")

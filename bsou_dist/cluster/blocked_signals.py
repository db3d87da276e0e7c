"""Start Python with the signals to stop held back.

Run as `python -m bsou_dist.cluster.blocked_signals PYTHON-ARGUMENTS`. A process that has not got so
far as to install its handlers would be ended by such a signal, and the job with it. Held back, the
signal waits, through all imports, until `job.py` is ready for it; the mask outlives the change of
program below.
"""

from __future__ import annotations

import os
import signal
import sys

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])

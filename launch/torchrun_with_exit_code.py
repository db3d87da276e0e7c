"""torchrun that ends with the exit code of the first rank that failed, and without a traceback.

torchrun itself turns every failure into exit code 1 under a wall of text, which would hide from the
caller whether the run failed (1) or the input was at fault (2). The ranks have already printed what
went wrong.
"""

from __future__ import annotations

import logging
import sys

from torch.distributed.elastic.multiprocessing import api
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

logging.getLogger(api.__name__).setLevel(logging.CRITICAL)
try:
    main()
except ChildFailedError as error:
    rank, failure = error.get_first_failure()
    if failure.exitcode < 0:
        print(f"rank {rank} was ended by signal {-failure.exitcode}", file=sys.stderr)
        sys.exit(128 - failure.exitcode)  # as a shell reports a signal
    sys.exit(failure.exitcode)
except api.SignalException as error:
    sys.exit(128 + error.sigval)

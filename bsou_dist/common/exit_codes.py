"""Exit codes of `bsou`, and of the jobs and ranks that run it."""

from __future__ import annotations

import signal

from bsou_dist.common.errors import InputError, OtherRankFailed

DONE = 0
"""All that was asked for is done."""

FAILED = 1
"""The work failed, or a check has found something wrong."""

BAD_INPUT = 2
"""The user's input is at fault, and the message says how to mend it; argparse's own code too."""

REQUEUE = 75
"""A signal asked the run to stop, and it has saved: the same command goes on from there.

Named EX_TEMPFAIL ("try again later") in sysexits.h.
"""

INTERRUPTED = 130
"""The same by Ctrl-C: 128 + SIGINT, as a shell reports it."""


def exit_code_of_stop(stop_signal: int) -> int:
    """Exit code of a command that a signal has asked to stop, and that can go on later."""
    return INTERRUPTED if stop_signal == signal.SIGINT else REQUEUE


PATH_FAULTS = (
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
)
"""A path given by the user that cannot be what it is wanted for."""


def exit_code_of_error(error: BaseException) -> int:
    """Exit code of a command that ends by an exception."""
    if isinstance(error, OtherRankFailed):
        return error.code
    if isinstance(error, InputError):
        return BAD_INPUT
    if isinstance(error, PATH_FAULTS) and error.filename is not None:
        return BAD_INPUT
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return FAILED

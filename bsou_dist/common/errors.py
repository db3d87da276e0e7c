"""Exceptions that every command ends by with a message and without a traceback."""


class InputError(ValueError):
    """Bad input by the user: printed without a traceback, and the command ends with exit code 2.

    The message names the value, what is allowed, and how to mend it.
    """


class OtherRankFailed(RuntimeError):
    """Another rank of this run has failed, and this one only ends with it; `code` is that one's."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class WorkFailed(RuntimeError):
    """No mistake of the user's: printed without a traceback, and the command ends with exit code 1.

    The message says what failed, and what to do before the same command is given again.
    """

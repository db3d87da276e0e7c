"""The one exception that means 'your input is at fault'."""


class InputError(ValueError):
    """Bad input by the user: printed without a traceback, and the command ends with exit code 2.

    The message names the value, what is allowed, and how to mend it.
    """

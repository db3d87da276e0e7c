"""The one exception that means 'your input is at fault'."""


class InputError(ValueError):
    """Raised for bad user input; the command line prints it without a traceback and exits with code
    2.

    The message names the value, what is allowed, and how to mend it.
    """

"""The predictions that the tests of this room look at."""

from made_up_predictions import predictions

__all__ = ["predictions"]

"""The packed cohort that the tests of this room look at."""

from packed_cohort import cohort, config, packed

__all__ = ["cohort", "config", "packed"]

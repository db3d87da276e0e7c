"""The phantom's patients as FAMLI's tables and files: the same anatomy and labels in each of four
layouts.

What the layouts look like on disk is known from public code and documents only; where those are
silent (placenta codes, names of some folders, makers' strings) a value was made up.
"""

from bsou_dist.phantom.famli.answers import write_answers
from bsou_dist.phantom.famli.files import WrittenFile, write_recording
from bsou_dist.phantom.famli.forms import write_forms
from bsou_dist.phantom.famli.instances import write_instances
from bsou_dist.phantom.famli.recordings import Recording, recordings
from bsou_dist.phantom.famli.reports import write_reports
from bsou_dist.phantom.famli.visits import (
    MIN_PATIENTS,
    ROLES,
    FamliLayout,
    Role,
    Visit,
    layout_visits,
)

__all__ = [
    "MIN_PATIENTS",
    "ROLES",
    "FamliLayout",
    "Recording",
    "Role",
    "Visit",
    "WrittenFile",
    "layout_visits",
    "recordings",
    "write_answers",
    "write_forms",
    "write_instances",
    "write_recording",
    "write_reports",
]

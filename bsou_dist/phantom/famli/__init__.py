"""The phantom's patients as FAMLI's tables and files, in each of four layouts.

What the layouts look like on disk is known from public code and documents only; where those are
silent (placenta codes, names of some folders, makers' strings) a value was made up.

| file | question |
|---|---|
| `visits` | Who came when, was scanned with what, and which oddity does each patient show? |
| `recordings` | Which files does a visit leave, and with which tags? |
| `files` | How is a recording written as its scanner would have? |
| `instances` | Which rows do the tables of files and of corrections hold? |
| `forms` | Which rows do the case report forms hold? |
| `reports` | Which rows do the structured reports hold? |
| `tables` | How is a table written, and where does it lie? |
| `expected_labels` | What do forms and reports say of a visit, and which labels follow? |
| `answers` | Which cohort must a reader give back, and what must it leave out? |
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

"""What form, report and twin file say of a visit, and what a right reader makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bsou_dist.phantom.famli.visits import Role, Visit

TERM_DAYS = 280
"""From the last period to the due date."""

LIE_CODES = {1: "Cephalic", 2: "Breech", 3: "Transverse", 4: "Variable / NA", 5: "Oblique"}
_PLACENTA_CODES = {"anterior": 1, "posterior": 2}
_FUNDAL = 3

_CM_PER_INCH, _KG_PER_POUND = 2.54, 0.45359237
_US_TWIN = {Role.TWINS: 1, Role.ONE_BY_TWIN_FILE: 1, Role.DOUBTFUL: 2}  # elsewhere the truth
_NOF = {Role.ONE_BY_TWIN_FILE: 2}
_FINAL_TWIN = {
    Role.TWINS: 2,
    Role.TRIPLETS: 3,
    Role.ONE_BY_TWIN_FILE: 1,
    Role.EXCLUDED_BY_TWIN_FILE: -99,
}


@dataclass(frozen=True)
class Body:
    """Height and weight as the form has them: cm and kg, or inches and pounds in North Carolina."""

    height: int
    weight: float
    bmi: float


def body(visit: Visit) -> Body:
    height_cm = 150 + 3 * (visit.index % 7)
    kg = visit.first.bmi * (height_cm / 100) ** 2
    if visit.clinic.isalpha():  # UNC and VIL
        inches, pounds = round(height_cm / _CM_PER_INCH), float(round(kg / _KG_PER_POUND))
        return Body(inches, pounds, pounds * _KG_PER_POUND / (inches * _CM_PER_INCH / 100) ** 2)
    return Body(height_cm, round(kg, 1), round(kg, 1) / (height_cm / 100) ** 2)


def us_twin(visit: Visit) -> int:
    return _US_TWIN.get(visit.role, visit.first.labels.fetuses)


def reported_fetuses(visit: Visit) -> int:
    """NOF."""
    return _NOF.get(visit.role, visit.first.labels.fetuses)


def final_twin(visit: Visit) -> int | None:
    """Of the twin file; None where the patient is not in it."""
    return _FINAL_TWIN.get(visit.role) if visit.layout != "nejm_v4" else None


def lie_code(visit: Visit) -> int | None:
    """1 to 5 by where the head lies from the rump; 4 (variable) and blank by role."""
    labels = visit.first.labels
    if visit.role is Role.NOVICE_BESIDE_REPORT:
        return 4
    if visit.role is Role.BLANK_TAGS or (labels.presentation is None and labels.fetuses == 1):
        return None
    if labels.presentation != "non_cephalic":
        return 1  # of multiples the first fetus's, which says nothing about the exam
    fetus = visit.first.anatomy.fetuses[0]
    towards_head = fetus.head_centre - fetus.rump
    up = towards_head[2] / np.linalg.norm(towards_head)
    return 2 if up > np.cos(np.pi / 4) else 3 if abs(up) < 0.5 else 5


def placenta_code(visit: Visit) -> int | None:
    labels = visit.first.labels
    if visit.role is Role.ONE_BY_TWIN_FILE:
        return _FUNDAL
    if labels.fetuses > 1:
        return _PLACENTA_CODES["anterior"]
    return None if labels.placenta is None else _PLACENTA_CODES[labels.placenta]


def form_dvp_cm(visit: Visit) -> float | None:
    """Deepest pocket on the form; `Role.FILES` has it in the report only."""
    labels = visit.first.labels
    if visit.role is Role.FILES:
        return None
    return 4.0 if labels.fetuses > 1 else labels.dvp_cm


@dataclass(frozen=True)
class Dating:
    """Where a visit's age stands; `days` is what a right reader takes from `source` (both None
    where it has none).
    """

    days: float | None
    source: str | None


def dating(visit: Visit) -> Dating:
    days = visit.first.labels.ga_days
    if days is None:
        return Dating(None, None)
    if visit.layout == "nejm_v4":
        return Dating(days, "boe")
    if visit.role in (Role.NO_FORMS, Role.DOUBTFUL):
        return Dating(None, None)
    if visit.role is Role.FORM_WITHOUT_AGE and visit.layout != "famli3":
        return Dating(days, "lmp")
    if visit.role is Role.TRIPLETS:
        return Dating(days, "edd")
    return Dating(days, "form")


@dataclass(frozen=True)
class ExpectedLabels:
    """What a right reader gives back."""

    ga_days: float | None
    ga_source: str | None
    presentation: str | None
    placenta: str | None
    dvp_cm: float | None
    fetuses: int | None
    bmi: float | None


def recoverable_labels(visit: Visit) -> ExpectedLabels:
    """ExpectedLabels that the layout holds: all but what is blank, undefined, doubtful or circular.

    Presentation, placenta and deepest pocket mean nothing where there may be more than one fetus.
    """
    labels, age, nejm = visit.first.labels, dating(visit), visit.layout == "nejm_v4"
    single = nejm or (labels.fetuses == 1 and visit.role is not Role.DOUBTFUL)
    asked = visit.has_forms and single
    return ExpectedLabels(
        ga_days=age.days,
        ga_source=age.source,
        presentation=labels.presentation if asked and lie_code(visit) not in (None, 4) else None,
        placenta=labels.placenta if asked and placenta_code(visit) != _FUNDAL else None,
        dvp_cm=labels.dvp_cm if asked and (form_dvp_cm(visit) is not None or not nejm) else None,
        fetuses=1
        if nejm
        else None
        if visit.role in (Role.NO_FORMS, Role.DOUBTFUL)
        else labels.fetuses,
        bmi=round(body(visit).bmi, 2) if visit.has_forms else None,
    )

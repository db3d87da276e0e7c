"""Labels that form, report and twin file give a visit, and what a right reader makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bsou_dist.phantom.famli.visits import Role, Visit

TERM_DAYS = 280
"""From the last period to the due date."""
_TRANSVERSE_COS = 0.5  # a fetus within 30 degrees of the level lies across

LIE_CODES = {1: "Cephalic", 2: "Breech", 3: "Transverse", 4: "Variable / NA", 5: "Oblique"}
_PLACENTA_CODES = {"anterior": 1, "posterior": 2}
_FUNDAL = 3

_CM_PER_INCH = 2.54
_KG_PER_POUND = 0.45359237
# numbers of fetuses by form and by report, where these differ from what there are
_US_TWIN = {Role.TWINS: 1, Role.ONE_BY_TWIN_FILE: 1, Role.DOUBTFUL: 2}
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
    """Height and weight of the mother, in the units of her clinic."""
    height_cm = 150 + 3 * (visit.index % 7)
    height_m = height_cm / 100
    weight_kg = visit.first.bmi * height_m**2
    in_carolina = visit.clinic.isalpha()  # UNC and VIL
    if in_carolina:
        inches = round(height_cm / _CM_PER_INCH)
        pounds = float(round(weight_kg / _KG_PER_POUND))
        bmi = pounds * _KG_PER_POUND / (inches * _CM_PER_INCH / 100) ** 2
        return Body(inches, pounds, bmi)
    rounded_kg = round(weight_kg, 1)
    return Body(height_cm, rounded_kg, rounded_kg / height_m**2)


def us_twin(visit: Visit) -> int:
    """Number of fetuses on the form."""
    return _US_TWIN.get(visit.role, visit.first.labels.fetuses)


def reported_fetuses(visit: Visit) -> int:
    """Number of fetuses in the report: NOF."""
    return _NOF.get(visit.role, visit.first.labels.fetuses)


def final_twin(visit: Visit) -> int | None:
    """Number of fetuses in the twin file; None where the patient is not in it."""
    return _FINAL_TWIN.get(visit.role) if visit.layout != "nejm_v4" else None


def lie_code(visit: Visit) -> int | None:
    """Lie on the form, 1 to 5 by where the head lies from the rump; 4 and blank by role."""
    labels = visit.first.labels
    undefined = labels.presentation is None and labels.fetuses == 1
    if visit.role is Role.NOVICE_BESIDE_REPORT:
        return 4
    if visit.role is Role.BLANK_TAGS or undefined:
        return None
    if labels.presentation != "non_cephalic":
        return 1  # of multiples the first fetus's, which says nothing about the exam
    fetus = visit.first.anatomy.fetuses[0]
    towards_head = fetus.head_centre - fetus.rump
    cos_up = towards_head[2] / np.linalg.norm(towards_head)
    if cos_up > np.cos(np.pi / 4):
        return 2
    return 3 if abs(cos_up) < _TRANSVERSE_COS else 5


def placenta_code(visit: Visit) -> int | None:
    """Site of the placenta on the form."""
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
    """Age that a right reader finds for a visit, and where; None where it finds none."""

    days: float | None
    source: str | None


_UNDATED = Dating(None, None)


def dating(visit: Visit) -> Dating:
    """The age of a visit and the best source that the layout has for it."""
    days = visit.first.labels.ga_days
    if days is None:
        return _UNDATED
    if visit.layout == "nejm_v4":
        return Dating(days, "boe")
    if visit.role in (Role.NO_FORMS, Role.DOUBTFUL):
        return _UNDATED
    if visit.role is Role.FORM_WITHOUT_AGE and not visit.layout.startswith("famli3"):
        return Dating(days, "lmp")
    if visit.role is Role.TRIPLETS and visit.layout == "famli3_vivli":
        return _UNDATED  # its report has but an age that may be read off the scan
    if visit.role is Role.TRIPLETS:
        return Dating(days, "edd")
    return Dating(days, "form")


@dataclass(frozen=True)
class ExpectedLabels:
    """Labels that a right reader gives back."""

    ga_days: float | None
    ga_source: str | None
    presentation: str | None
    placenta: str | None
    dvp_cm: float | None
    fetuses: int | None
    bmi: float | None


def recoverable_labels(visit: Visit) -> ExpectedLabels:
    """Labels that the layout holds: all but what is blank, undefined, doubtful or circular.

    Presentation, placenta and deepest pocket mean nothing where there may be more than one fetus.
    """
    labels = visit.first.labels
    age = dating(visit)
    is_nejm = visit.layout == "nejm_v4"
    if is_nejm:
        fetuses: int | None = 1
    elif visit.role in (Role.NO_FORMS, Role.DOUBTFUL):
        fetuses = None
    else:
        fetuses = labels.fetuses

    on_form = visit.has_forms and fetuses == 1
    has_lie = lie_code(visit) not in (None, 4)
    has_side = placenta_code(visit) != _FUNDAL
    reports_have_pockets = visit.layout not in ("nejm_v4", "famli3_vivli")
    has_pocket = form_dvp_cm(visit) is not None or reports_have_pockets
    return ExpectedLabels(
        ga_days=age.days,
        ga_source=age.source,
        presentation=labels.presentation if on_form and has_lie else None,
        placenta=labels.placenta if on_form and has_side else None,
        dvp_cm=labels.dvp_cm if on_form and has_pocket else None,
        fetuses=fetuses,
        bmi=round(body(visit).bmi, 2) if visit.has_forms else None,
    )

"""Case report forms: a row per visit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from bsou_dist.phantom.famli.expected_labels import (
    LIE_CODES,
    TERM_DAYS,
    body,
    dating,
    form_dvp_cm,
    lie_code,
    placenta_code,
    us_twin,
)
from bsou_dist.phantom.famli.tables import tabular_folder, to_frame, write_csv
from bsou_dist.phantom.famli.visits import FamliLayout, Role, Visit
from bsou_dist.phantom.growth import biometry

_SHEET = "FAMLI2 CRFs"

_AT_SCREENING = ("sc_date_date", "age", "sc_us_date_date", "sc_us_edd_date", "sc_ht", "sc_wt")
_HISTORY = ("sc_first_wt", "sc_first_anc_date", "lmp_certain", "iugr_priorscan")
_AT_SCAN = ("us_date_date", "us_fh", "us_loc", "us_twin", "us_fhr", "us_lie")
_COMMON = ("ega", *_AT_SCREENING, *_HISTORY, *_AT_SCAN)
_MODES = ("us_3d", "us_dop", "us_butter_blind", "us_clarius_blind")
_PEOPLE = ("sonographer", "novice", "fetut_anom", "single_iup")
_AFTER_DVP = ("us_plac", "us_previa", *_MODES, *_PEOPLE)
_SIZES = [f"us_{size}{fetus}" for size in ("bp", "hc", "ac", "fl", "tcd") for fetus in "ab"]
_FAMLI3_ONLY = (
    "us_wks",
    "us_day",
    *_SIZES,
    "us_efw",
    "us_perc",
    *(f"us_q{quarter}" for quarter in (1, 2, 3, 4)),
)

_ENROLLED = (
    "pidscan",
    "us_famscan",
    "eligible",
    "edd_date",
    *_COMMON,
    "us_dvp",
    "us_sweep",
    *_AFTER_DVP,
)
_FAMLI3 = {
    "pid": "PID",
    "pidscan": "PIDscan",
    **{name: name for name in _COMMON},
    "us_dvp": "us_dvp_ge",
    **{name: name for name in (*_FAMLI3_ONLY, *_AFTER_DVP)},
}


_VIVLI = {
    "pid": "pid",
    "pidscan": "pidscan",
    "sas_date": "visit_date_date",
    **{name: name for name in ("ega", "us_wks", "us_day", "us_twin", "us_lie")},
    "us_dvp": "us_dvp_ge",
    **{name: name for name in (*_SIZES, "us_plac", "sc_ht", "sc_wt", "novice")},
}


def write_forms(layout: FamliLayout, visits: Sequence[Visit], root: Path) -> None:
    """The layout's table of forms; a visit without forms has no row."""
    rows = [_form(visit) for visit in visits if visit.has_forms]
    folder = root / tabular_folder(layout)
    if layout == "famli2":
        for row in rows:
            row["us_lie"] = LIE_CODES.get(row["us_lie"])
            row["eligible"] = "Eligible" if row["eligible"] else "Ineligible"
        write_csv(folder / "famli2_crf.csv", rows, ["pid", *_ENROLLED])
    elif layout == "famli3":
        write_csv(folder / "famli3_crf.csv", rows, _FAMLI3)
    elif layout == "famli3_vivli":
        write_csv(folder / "C3_CRF.csv", rows, _VIVLI)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        with pd.ExcelWriter(folder / "FAMLI2_case_report_forms.xlsx", engine="openpyxl") as book:
            pd.DataFrame({"sheet": [_SHEET]}).to_excel(book, sheet_name="contents", index=False)
            to_frame(rows, _ENROLLED).to_excel(book, sheet_name=_SHEET, index=False)


def _form(visit: Visit) -> dict[str, Any]:
    age = dating(visit)
    size = body(visit)
    kinds = {scan.kind for scan in visit.scans}
    is_eligible = visit.role is not Role.INELIGIBLE or visit.layout == "nejm_v4"
    has_clarius = any(scan.device.maker == "Clarius" for scan in visit.scans)
    age_days: int | None = None
    due_date: date | None = None
    if age.days and age.source in ("form", "boe"):
        age_days = round(age.days)
        due_date = visit.day + timedelta(days=TERM_DAYS - age_days)
    by_weeks_alone = visit.role is Role.FORM_WITHOUT_AGE and age.source == "form"
    return {
        "pid": visit.pid,
        "pidscan": visit.study_id,
        "us_famscan": 1,
        "eligible": int(is_eligible),
        "edd_date": due_date,
        "ega": None if by_weeks_alone else age_days,
        "us_wks": None if age_days is None else age_days // 7,
        "us_day": None if age_days is None else age_days % 7,
        "us_date_date": visit.day,
        "sas_date": f"{visit.day:%d%b%Y}".upper(),
        "age": 18 + visit.index % 20,
        "sc_ht": size.height,
        "sc_wt": size.weight,
        "us_loc": 1,
        "us_twin": us_twin(visit),
        "us_fhr": 140,
        "us_lie": lie_code(visit),
        "us_dvp": form_dvp_cm(visit),
        "us_plac": placenta_code(visit),
        "us_sweep": 1,
        "us_3d": 0,
        "us_dop": int(visit.role is Role.FILES),
        "us_butter_blind": int(kinds != {"console"}),
        "us_clarius_blind": int(has_clarius),
        "sonographer": "S1",
        "novice": int("novice" in kinds),
        "single_iup": int(us_twin(visit) == 1),
        **_measured(visit),
    }


def _measured(visit: Visit) -> dict[str, float]:
    """Biometry in cm, fetus A first; twins measure alike."""
    labels, plan = visit.first.labels, visit.first.plan
    mean = biometry(plan.size_ga_days)
    sizes = {"us_bp": mean.bpd_mm, "us_hc": mean.hc_mm, "us_ac": mean.ac_mm, "us_fl": mean.fl_mm}
    fetuses = "ab"[: labels.fetuses]
    return {
        f"{name}{fetus}": round(size_mm / 10, 2)
        for name, size_mm in sizes.items()
        for fetus in fetuses
    }

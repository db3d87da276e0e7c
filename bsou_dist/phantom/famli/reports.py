"""Structured reports: a measurement per row, in the words of each maker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bsou_dist.phantom.famli.expected_labels import TERM_DAYS, dating, reported_fetuses
from bsou_dist.phantom.famli.tables import tabular_folder, write_csv
from bsou_dist.phantom.famli.visits import FamliLayout, Role, Scan, Visit
from bsou_dist.phantom.growth import biometry

_REPEATS = (0.99, 1.0, 1.01)
_NAMES = {
    "BPD": "Biparietal Diameter",
    "HC": "Head Circumference",
    "AC": "Abdominal Circumference",
    "FL": "Femur Length",
}

_FAMLI2_COLUMNS = {
    "pid": "pid",
    "study": "pidscan",
    "maker": "manufacturer",
    "name": "tagname",
    "content": "tagcontent",
    "number": "numericvalue",
    "day": "datevalue",
    "derivation": "derivation",
}
_DICOM_COLUMNS = {
    "famli2_enrolled": {
        **_FAMLI2_COLUMNS,
        "pid": "PID",
        "study": "StudyID",
        "maker": "Manufacturer",
        "derivation": "Derivation",
    },
    "famli2": _FAMLI2_COLUMNS,
    "famli3": {**_FAMLI2_COLUMNS, "pid": "PID", "study": "PIDscan"},
}
_DICOM_NAMES = {
    "famli2_enrolled": "FAMLI2_DICOM_structured_reports.csv",
    "famli2": "FAMLI2_SR.csv",
    "famli3": "famli3_sr.csv",
}
_WIDE_COLUMNS = (
    "pid",
    "pidscan",
    "visit_date",
    "ega",
    "multiple_gest",
    "mean_bpd",
    "mean_hc",
    "mean_ac",
    "mean_fl",
)
_SONOSITE_COLUMNS = {
    "pid": "PID",
    "study": "StudyID",
    "maker": "Manufacturer",
    "name": "tagname",
    "measure": "MeasID",
    "content": "tagcontent",
    "number": "numericvalue",
    "day": "datevalue",
}


@dataclass(frozen=True)
class Measurement:
    """One row of a report, without whose it is."""

    name: str
    content: str
    number: float | None = None
    day: str = ""
    derivation: str = ""
    measure: str = ""


def write_reports(layout: FamliLayout, visits: Sequence[Visit], root: Path) -> None:
    """Write the layout's tables of reports; nejm_v4 has none."""
    if layout == "nejm_v4":
        return
    if layout == "famli3_vivli":
        _write_wide_reports(visits, root / tabular_folder(layout))
        return
    dicom_rows: list[dict[str, object]] = []
    sonosite_rows: list[dict[str, object]] = []
    for visit in visits:
        for scan in visit.scans:
            if not visit.has_forms or not scan.has_report:
                continue
            if scan.device.maker == "Sonosite":
                report = _sonosite_report(visit)
                sonosite_rows += [_row(visit, scan, measured) for measured in report]
            else:
                report = _ge_report(visit)
                dicom_rows += [_row(visit, scan, measured) for measured in report]
    folder = root / tabular_folder(layout)
    write_csv(folder / _DICOM_NAMES[layout], dicom_rows, _DICOM_COLUMNS[layout])
    if layout == "famli2_enrolled":
        name = "FAMLI2_non-DICOM_structured_reports.csv"
        write_csv(folder / name, sonosite_rows, _SONOSITE_COLUMNS)


def _write_wide_reports(visits: Sequence[Visit], folder: Path) -> None:
    """Write a row per visit that has a report, with a column for each measurement (cm)."""
    rows = []
    for visit in visits:
        if not visit.has_forms or not any(scan.has_report for scan in visit.scans):
            continue
        row: dict[str, object] = {
            "pid": visit.pid,
            "pidscan": visit.study_id,
            "visit_date": f"{visit.day:%Y-%m-%d}",
            "multiple_gest": int(reported_fetuses(visit) > 1),
        }
        if visit.first.labels.ga_days is not None:
            row["ega"] = round(visit.first.plan.size_ga_days)
        for short, size_mm in _sizes_mm(visit).items():
            row[f"mean_{short.lower()}"] = round(size_mm / 10, 2)
        rows.append(row)
    write_csv(folder / "C3_SR.csv", rows, _WIDE_COLUMNS)


def _row(visit: Visit, scan: Scan, measured: Measurement) -> dict[str, object]:
    device = scan.device
    names_model = device.maker == "GE" and device.model != "V830"
    model = f" ({device.raw_model})" if names_model else ""
    return {
        "pid": visit.pid,
        "study": visit.study_id,
        "maker": device.raw_maker + model,
        **vars(measured),
    }


def _ge_report(visit: Visit) -> Iterator[Measurement]:
    labels = visit.first.labels
    for count in _fetus_counts(visit):
        yield Measurement("Number of Fetuses", str(count), count)
    if labels.fetuses == 1:
        yield from _ge_biometry(visit)
    if labels.ga_days is not None:
        size_age_days = round(visit.first.plan.size_ga_days)
        for step in (-2, 0, 1):  # the age of each measurement: circular
            yield _days("Gestational Age", size_age_days + step)
        yield _days("Composite Ultrasound Age", size_age_days)
    yield from _ge_dating(visit)
    if labels.dvp_cm is not None:  # the deepest of the repeats counts
        name = "Max Vertical Pocket"
        yield Measurement(name, f"{labels.dvp_cm * 10:.1f} mm", round(labels.dvp_cm * 10, 1))
        yield Measurement(name, f"{labels.dvp_cm * 0.8:.2f} cm", round(labels.dvp_cm * 0.8, 2))
    yield Measurement("Fetal Heart Rate", "140 bpm", 140)


def _ge_dating(visit: Visit) -> Iterator[Measurement]:
    age = dating(visit)
    if age.days is None:
        return
    age_days = round(age.days)
    last_period = visit.day - timedelta(days=age_days)
    due_date = visit.day + timedelta(days=TERM_DAYS - age_days)
    if age.source == "lmp":
        yield _days("Gestational Age by LMP", age_days)
        yield Measurement("LMP", "", day=f"{last_period:%Y-%m-%d}")
    if age.source == "edd":
        yield _days("Gestational Age by EDD", age_days)
        yield Measurement("EDD", "", day=f"{due_date:%Y-%m-%d}")


def _ge_biometry(visit: Visit) -> Iterator[Measurement]:
    """Three repeats; every second visit adds a row with their mean, every third measures in cm."""
    unit, per_mm, digits = ("cm", 0.1, 2) if visit.index % 3 == 2 else ("mm", 1.0, 1)
    for short, size_mm in _sizes_mm(visit).items():
        repeats = [round(size_mm * share * per_mm, digits) for share in _REPEATS]
        for value in repeats:
            yield Measurement(_NAMES[short], f"{value} {unit}", value)
        if visit.index % 2 == 0:
            mean = round(sum(repeats) / len(repeats), digits)
            yield Measurement(_NAMES[short], f"{mean} {unit}", mean, derivation="Mean")


def _sonosite_report(visit: Visit) -> Iterator[Measurement]:
    """Rows of a Sonosite, in cm and without means."""
    count = reported_fetuses(visit)
    yield Measurement("FetusID", {1: "A (sole)", 2: "A (twin)"}[count])
    if visit.first.labels.fetuses == 1:
        for short, size_mm in _sizes_mm(visit).items():
            for share in _REPEATS:
                value = round(size_mm * share / 10, 2)
                yield Measurement("FetalMeasurement", f"{value} cm", value, measure=f"OB_{short}")
    age = dating(visit)
    if age.days is not None:
        size_age_days = round(visit.first.plan.size_ga_days)
        yield _days("AverageUltrasoundAge", size_age_days, measure="AUA")
        if age.source == "lmp":
            yield _days("GAByLMP", round(age.days), measure="GA_BY_LMP")
    yield Measurement("FetalHeartRate", "140 bpm", 140, measure="FHR")


def _fetus_counts(visit: Visit) -> list[int]:
    """Repeats whose right count is their mode, or of an even number of them the largest."""
    count = reported_fetuses(visit)
    if visit.role is Role.TWINS:
        return [1, count]
    if visit.role is Role.TRIPLETS:
        return [count, count, 1]
    return [count]


def _sizes_mm(visit: Visit) -> dict[str, float]:
    mean = biometry(visit.first.plan.size_ga_days)
    return {"BPD": mean.bpd_mm, "HC": mean.hc_mm, "AC": mean.ac_mm, "FL": mean.fl_mm}


def _days(name: str, days: int, measure: str = "") -> Measurement:
    return Measurement(name, f"{days} days", days, measure=measure)

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

_DICOM_COLUMNS = {
    "famli2_enrolled": {
        "pid": "PID",
        "study": "StudyID",
        "maker": "Manufacturer",
        "name": "tagname",
        "content": "tagcontent",
        "number": "numericvalue",
        "day": "datevalue",
        "derivation": "Derivation",
    },
    "famli2": {
        "pid": "pid",
        "study": "pidscan",
        "maker": "manufacturer",
        "name": "tagname",
        "content": "tagcontent",
        "number": "numericvalue",
        "day": "datevalue",
        "derivation": "derivation",
    },
    "famli3": {
        "pid": "PID",
        "study": "PIDscan",
        "maker": "manufacturer",
        "name": "tagname",
        "content": "tagcontent",
        "number": "numericvalue",
        "day": "datevalue",
        "derivation": "derivation",
    },
}
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
    """One row of a report, less whose it is."""

    name: str
    content: str
    number: float | None = None
    day: str = ""
    derivation: str = ""
    measure: str = ""


def write_reports(layout: FamliLayout, visits: Sequence[Visit], root: Path) -> None:
    """The layout's tables of reports; nejm_v4 has none."""
    if layout == "nejm_v4":
        return
    scans = [
        (visit, scan)
        for visit in visits
        if visit.has_forms
        for scan in visit.scans
        if scan.has_report
    ]
    folder = root / tabular_folder(layout)
    name = {
        "famli2_enrolled": "FAMLI2_DICOM_structured_reports.csv",
        "famli2": "FAMLI2_SR.csv",
        "famli3": "famli3_sr.csv",
    }[layout]
    rows = [
        _row(visit, scan, measured)
        for visit, scan in scans
        if scan.device.maker != "Sonosite"
        for measured in _ge_report(visit)
    ]
    write_csv(folder / name, rows, _DICOM_COLUMNS[layout])
    if layout == "famli2_enrolled":
        rows = [
            _row(visit, scan, measured)
            for visit, scan in scans
            if scan.device.maker == "Sonosite"
            for measured in _sonosite_report(visit)
        ]
        write_csv(folder / "FAMLI2_non-DICOM_structured_reports.csv", rows, _SONOSITE_COLUMNS)


def _row(visit: Visit, scan: Scan, measured: Measurement) -> dict[str, object]:
    device = scan.device
    model = f" ({device.raw_model})" if device.maker == "GE" and device.model != "V830" else ""
    return {
        "pid": visit.pid,
        "study": visit.study_id,
        "maker": device.raw_maker + model,
        **vars(measured),
    }


def _ge_report(visit: Visit) -> Iterator[Measurement]:
    for count in _fetus_counts(visit):
        yield Measurement("Number of Fetuses", str(count), count)
    if visit.first.labels.fetuses == 1:
        yield from _ge_biometry(visit)
    labels, age = visit.first.labels, dating(visit)
    if labels.ga_days is not None:
        for step in (-2, 0, 1):  # the age of each measurement: circular
            yield _days("Gestational Age", round(visit.first.plan.size_ga_days) + step)
        yield _days("Composite Ultrasound Age", round(visit.first.plan.size_ga_days))
    if age.days is not None and age.source == "lmp":
        yield _days("Gestational Age by LMP", round(age.days))
        yield Measurement("LMP", "", day=f"{visit.day - timedelta(days=round(age.days)):%Y-%m-%d}")
    if age.days is not None and age.source == "edd":
        yield _days("Gestational Age by EDD", round(age.days))
        yield Measurement(
            "EDD", "", day=f"{visit.day + timedelta(days=TERM_DAYS - round(age.days)):%Y-%m-%d}"
        )
    if labels.dvp_cm is not None:  # the deepest of the repeats counts
        yield Measurement(
            "Max Vertical Pocket", f"{labels.dvp_cm * 10:.1f} mm", round(labels.dvp_cm * 10, 1)
        )
        yield Measurement(
            "Max Vertical Pocket", f"{labels.dvp_cm * 0.8:.2f} cm", round(labels.dvp_cm * 0.8, 2)
        )
    yield Measurement("Fetal Heart Rate", "140 bpm", 140)


def _ge_biometry(visit: Visit) -> Iterator[Measurement]:
    """Three repeats; every other visit adds a row with their mean, and every third measures in
    cm.
    """
    unit, per_mm, digits = ("cm", 0.1, 2) if visit.index % 3 == 2 else ("mm", 1.0, 1)
    for short, size_mm in _sizes_mm(visit).items():
        repeats = [round(size_mm * share * per_mm, digits) for share in _REPEATS]
        for value in repeats:
            yield Measurement(_NAMES[short], f"{value} {unit}", value)
        if visit.index % 2 == 0:
            mean = round(sum(repeats) / len(repeats), digits)
            yield Measurement(_NAMES[short], f"{mean} {unit}", mean, derivation="Mean")


def _sonosite_report(visit: Visit) -> Iterator[Measurement]:
    """In cm, and without means."""
    count = reported_fetuses(visit)
    yield Measurement("FetusID", {1: "A (sole)", 2: "A (twin)"}[count])
    if visit.first.labels.fetuses == 1:
        for short, size_mm in _sizes_mm(visit).items():
            for share in _REPEATS:
                value = round(size_mm * share / 10, 2)
                yield Measurement("FetalMeasurement", f"{value} cm", value, measure=f"OB_{short}")
    age = dating(visit)
    if age.days is not None:
        yield Measurement(
            "AverageUltrasoundAge",
            f"{round(visit.first.plan.size_ga_days)} days",
            round(visit.first.plan.size_ga_days),
            measure="AUA",
        )
        if age.source == "lmp":
            yield Measurement(
                "GAByLMP", f"{round(age.days)} days", round(age.days), measure="GA_BY_LMP"
            )
    yield Measurement("FetalHeartRate", "140 bpm", 140, measure="FHR")


def _fetus_counts(visit: Visit) -> list[int]:
    """Repeats in which the right count is the largest of an even number, or the mode of an odd
    one.
    """
    count = reported_fetuses(visit)
    return {Role.TWINS: [1, count], Role.TRIPLETS: [count, count, 1]}.get(visit.role, [count])


def _sizes_mm(visit: Visit) -> dict[str, float]:
    mean = biometry(visit.first.plan.size_ga_days)
    return {"BPD": mean.bpd_mm, "HC": mean.hc_mm, "AC": mean.ac_mm, "FL": mean.fl_mm}


def _days(name: str, days: int) -> Measurement:
    return Measurement(name, f"{days} days", days)

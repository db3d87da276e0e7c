"""The phantom's patients in FAMLI's terms: clinics, numbers, dates, devices and oddities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import Enum, auto
from typing import Literal

from bsou_dist.common.errors import InputError
from bsou_dist.phantom import Exam, PhantomConfig, phantom_patient

FamliLayout = Literal["nejm_v4", "famli2_enrolled", "famli2", "famli3", "famli3_vivli"]
Kind = Literal["console", "butterfly", "novice"]


class Role(Enum):
    """Oddity that a patient shows.

    The first patients take these roles in turn; all later ones are `PLAIN`.
    """

    FILES = auto()
    """Stills, a picture, a row twice, a row without a file name, colour Doppler, a tinted sweep."""
    CORRECTED_TAGS = auto()
    """Tags changed and blanked by the corrections, an MP4 without spacing."""
    NOVICE_BESIDE_REPORT = auto()
    """A novice's exam at a visit with a report, sweeps of 49 and 50 frames, a lost file."""
    FORM_WITHOUT_AGE = auto()
    """Dated by the report's last period; in famli3 by weeks and days of the form."""
    BLANK_TAGS = auto()
    """An expert's Butterfly exam alone, with a blank tag and 'None'."""
    TWINS = auto()
    """The form says one fetus, the report two, and the twin file too."""
    TRIPLETS = auto()
    """Dated by the report's due date."""
    ONE_BY_TWIN_FILE = auto()
    """The form says one fetus, the report two, and the twin file one."""
    NO_FORMS = auto()
    """Neither form nor report; EchoNous in layouts that have such."""
    EXCLUDED_BY_TWIN_FILE = auto()
    INELIGIBLE = auto()
    DOUBTFUL = auto()
    """Form and report disagree about fetuses; dated by this scan's own biometry alone."""
    PLAIN = auto()


ROLES = tuple(role for role in Role if role is not Role.PLAIN)
MIN_PATIENTS = len(ROLES)

_FETUSES = {Role.TWINS: 2, Role.TRIPLETS: 3, Role.PLAIN: None}  # the others have one
_KINDS: dict[Role, tuple[Kind, ...]] = {
    Role.CORRECTED_TAGS: ("console", "butterfly"),
    Role.NOVICE_BESIDE_REPORT: ("console", "novice"),
    Role.BLANK_TAGS: ("butterfly",),
    Role.EXCLUDED_BY_TWIN_FILE: ("novice",),
}
_PLAIN_KINDS: tuple[tuple[Kind, ...], ...] = (
    ("console",),
    ("console", "butterfly"),
    ("novice",),
    ("console", "novice"),
)

_ZAMBIA = ("025", "111", "202", "300")
_CAROLINA = ("UNC", "VIL")
_FIRST_DAY = {
    "nejm_v4": date(2018, 9, 3),
    "famli2_enrolled": date(2018, 9, 3),
    "famli2": date(2022, 6, 1),
    "famli3": date(2023, 6, 5),
    "famli3_vivli": date(2023, 6, 5),
}
_DAYS_OPEN = 120  # first visits are spread over so many days

_GE_MODELS = ("V830", "Voluson S", "Voluson E8")
_BUTTERFLY_MODELS = {
    "nejm_v4": ("iQ",),
    "famli2_enrolled": ("iQ", "iQ+"),
    "famli2": ("iQ", "iQ+"),
    "famli3": ("iQ3", "iQ+"),
    "famli3_vivli": ("iQ3", "iQ+"),
}
_SHIFT_HOURS = 2
_NO_MODEL = "Unnamed"  # stands in exam ids for a blank model
_NEJM_SUFFIXES: dict[Kind, str] = {
    "console": "",
    "butterfly": "-butterfly",
    "novice": "-novice-butterfly",
}
"""What nejm_v4 adds to a study's id to name an exam."""
_RAW_GE = ("GE Healthcare", "GE Healthcare Austria GmbH & Co OG")
_RAW_SONOSITE = ("SonoSite, Inc.", "Sonosite")  # a search for 'Sonosite' overlooks the first


@dataclass(frozen=True)
class Device:
    """Maker and model by their usual names, and as the tables write them."""

    maker: str
    model: str
    raw_maker: str
    raw_model: str

    @property
    def name(self) -> str:
        """Maker and model as a cohort table has them."""
        return self.maker if self.model == _NO_MODEL else f"{self.maker} {self.model}"


@dataclass(frozen=True)
class Scan:
    """One exam of a visit: one device in the hands of one operator."""

    kind: Kind
    exam: Exam
    device: Device
    time: str
    """HHMMSS."""

    @property
    def has_report(self) -> bool:
        """True if the device writes structured reports."""
        return self.device.maker in ("GE", "Sonosite", "Clarius")


@dataclass(frozen=True)
class Visit:
    """One mother on one day."""

    layout: FamliLayout
    index: int
    """Hers in the phantom cohort."""
    role: Role
    clinic: str
    number: int
    """Counts her visits from 1."""
    day: date
    first: Exam
    """The exam whose labels and anatomy hold for the visit; ``scans`` share both."""
    scans: tuple[Scan, ...]

    @property
    def pid(self) -> str:
        """The patient's id: clinic and number."""
        return f"{self.clinic}-{self.index + 1:04d}"

    @property
    def study_id(self) -> str:
        """The visit's id: the patient's and a counter."""
        return f"{self.pid}-{self.number}"

    @property
    def has_forms(self) -> bool:
        """True if forms and reports know the visit."""
        return self.role is not Role.NO_FORMS

    def folder(self, scan: Scan) -> str:
        """Name of an exam's folder."""
        if self.layout == "nejm_v4":
            return self.study_id + _NEJM_SUFFIXES[scan.kind]
        time = scan.time
        if self.layout == "famli3_vivli" and scan.kind != "console":
            shifted_hour = int(time[:2]) + _SHIFT_HOURS  # its table has the time as it was
            time = f"{shifted_hour:02d}{time[2:]}"
        return f"{self.study_id}_{self.day:%Y%m%d}_{time}"

    def exam_id(self, scan: Scan) -> str:
        """Id of an exam as a right reader makes it."""
        if self.layout == "nejm_v4":
            return self.folder(scan)
        return f"{self.folder(scan)}_{scan.device.maker}_{scan.device.model}"


def layout_visits(config: PhantomConfig, layout: FamliLayout) -> Iterator[Visit]:
    """Every visit that the layout holds, patient by patient.

    Raises:
        InputError: too few patients for all roles, or settings that the layouts decide themselves.
    """
    if config.patients < MIN_PATIENTS:
        raise InputError(
            f"patients is {config.patients}; a layout needs at least {MIN_PATIENTS}, "
            "because each of the first ones shows another of the corpus's oddities"
        )
    if config.both_devices_fraction or config.novice_fraction:
        raise InputError(
            "both_devices_fraction and novice_fraction do not go with --layout, where a patient's "
            "number says who is scanned with what; leave them out"
        )
    if len(config.sweeps) < 2:
        raise InputError(
            f"sweeps is {list(config.sweeps)}; a layout needs at least two, as an exam holds two "
            "clips"
        )
    return (visit for index in range(config.patients) for visit in _visits(config, layout, index))


def _visits(config: PhantomConfig, layout: FamliLayout, index: int) -> Iterator[Visit]:
    role = ROLES[index] if index < len(ROLES) else Role.PLAIN
    patient = phantom_patient(config, index, _FETUSES.get(role, 1))
    if layout == "nejm_v4" and patient.exams[0].labels.fetuses > 1:
        return  # its enrolment was of singletons
    if role is Role.PLAIN:
        kinds = _PLAIN_KINDS[index % len(_PLAIN_KINDS)]
    else:
        kinds = _KINDS.get(role, ("console",))
    first_day = _FIRST_DAY[layout] + timedelta(days=index % _DAYS_OPEN)
    for number, exam in enumerate(patient.exams, 1):
        scans = []
        for hour, kind in enumerate(kinds, 8):
            device = _device(layout, index, kind)
            scans.append(Scan(kind, _exam(exam, kind), device, time=f"{hour:02d}1530"))
        yield Visit(
            layout,
            index,
            role,
            clinic=_clinic(layout, index, kinds),
            number=number,
            day=first_day + timedelta(days=exam.visit_day),
            first=exam,
            scans=tuple(scans),
        )


def _exam(exam: Exam, kind: Kind) -> Exam:
    """The same mother under another probe: its own unsteadiness and noise, one anatomy."""
    patient, visit, _ = exam.key
    device = ("console", "novice", "butterfly").index(kind)
    return replace(
        exam,
        key=(patient, visit, device),
        probe="console" if kind == "console" else "handheld",
        operator="novice" if kind == "novice" else "expert",
    )


def _clinic(layout: FamliLayout, index: int, kinds: tuple[Kind, ...]) -> str:
    novices_scan = "novice" in kinds  # which they do in Zambia only
    is_third = layout in ("famli3", "famli3_vivli")
    if not is_third and index % 5 == 0 and not novices_scan:
        return _CAROLINA[index // 5 % 2]
    study = "FA3" if is_third else "FAM"
    return f"{study}-{_ZAMBIA[index % len(_ZAMBIA)]}"


def _device(layout: FamliLayout, index: int, kind: Kind) -> Device:
    """Maker and model of a scan. Makers take turns as among the first patients, by role."""
    role = ROLES[index % len(ROLES)]
    if kind != "console":
        models = _BUTTERFLY_MODELS[layout]
        model = models[index % len(models)]
        if role is Role.BLANK_TAGS and layout != "nejm_v4":
            return Device("Butterfly", _NO_MODEL, "Butterfly Network Inc", "")
        return Device("Butterfly", model, "Butterfly Network Inc", f"{model} Probe")
    if role is Role.NO_FORMS and layout in ("famli2_enrolled", "famli2"):
        return Device("EchoNous", "Kosmos", "EchoNous", "Kosmos")
    if role is Role.DOUBTFUL and layout == "famli2_enrolled":
        return Device("Clarius", "C3HD", "Clarius Mobile Health Corp.", "C3HD")
    if role in (Role.FORM_WITHOUT_AGE, Role.TWINS) and layout in ("famli2_enrolled", "nejm_v4"):
        return Device("Sonosite", "Turbo", _RAW_SONOSITE[role is Role.TWINS], "Turbo")
    model = _GE_MODELS[index % len(_GE_MODELS)]
    return Device("GE", model.replace(" ", "-"), _RAW_GE[index % len(_RAW_GE)], model)

"""Recordings of a visit: one per file, with its tags on screen and in tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from bsou_dist.phantom import PhantomConfig
from bsou_dist.phantom.famli.visits import FamliLayout, Role, Scan, Visit
from bsou_dist.phantom.files.dicom import Acquisition
from bsou_dist.phantom.files.screen import Look

Ending = Literal["", ".dcm", ".mp4", ".png"]

NEJM_FOLDER = "GA_NEJME"
PROJECTS: dict[FamliLayout, str] = {
    "nejm_v4": NEJM_FOLDER,
    "famli2_enrolled": "FAMLI2_enrolled",
    "famli2": "FAMLI2",
    "famli3": "FAMLI3",
    "famli3_vivli": "FAMLI3",
}

_VERTICAL_TAGS = (
    {"M": "M", "L": "L1", "R": "R1"},
    {"M": "M0", "L": "L0", "R": "R0"},
    {"M": "M", "L": "L0", "R": "R0"},
)
_EXTRA_REPEAT = 99  # number of the repeat of a path that an extra clip follows once more
_TAGS_OF_NO_SWEEP = (None, "ASSBS", "RTA")
_PRINTED_PRESENTATION = {"cephalic": "CEPHALIC", "non_cephalic": "BREECH", None: "FUNDUS"}
_PRINTED_PLACENTA = {"anterior": ("ANT PLAC",), "posterior": ("POST PLAC",), None: ()}


@dataclass(frozen=True)
class Recording:
    """One file.

    Attributes:
        number: its place in the exam.
        view: the sweep's path, 'head' or 'abdomen'.
        clip_class: as in a cohort table.
        printed: on the screen, the tag first.
        table_tag: in the instance table.
        corrected_tag: in the corrections; None without a row there.
        lost: in the table, but not on disk.
        spacing: whether the MP4 table knows it.
        region: whether the DICOM header has one.
    """

    visit: Visit
    scan: Scan
    number: int
    view: str
    clip_class: str
    printed: tuple[str, ...]
    table_tag: str
    frames: int
    ending: Ending
    repeat: int = 0
    look: Look = "grey"
    corrected_tag: str | None = None
    lost: bool = False
    spacing: bool = True
    region: bool = True

    @property
    def tag(self) -> str | None:
        """Tag that a right reader takes for it."""
        tag = self.table_tag if self.corrected_tag is None else self.corrected_tag
        return None if tag in ("", "None") else tag

    @property
    def sweep(self) -> str | None:
        """Canonical sweep, as far as the tag tells it."""
        if self.clip_class != "blind" or self.tag in _TAGS_OF_NO_SWEEP:
            return None
        return self.view

    @property
    def acquisition(self) -> Acquisition:
        """Content of its header beside the picture."""
        device = self.scan.device
        return Acquisition(
            self.visit.pid,
            self.visit.study_id,
            device.raw_maker,
            device.raw_model,
            f"{self.visit.day:%Y%m%d}",
            self.scan.time,
        )

    @property
    def name(self) -> str:
        """Name that tells it from all others of the visit."""
        return f"{self.scan.kind}-{self.number}"

    @property
    def uid(self) -> str:
        """DICOM UID of the file, whatever its format."""
        return self.acquisition.instance_uid(self.name)

    @property
    def filename(self) -> str:
        """Name of the file: its UID and ending."""
        return f"{self.uid}{self.ending}"

    @property
    def listed_name(self) -> str:
        """Name of the file in tables: in famli3_vivli they differ from the disk in '.dcm'."""
        if self.visit.layout != "famli3_vivli" or self.ending not in ("", ".dcm"):
            return self.filename
        return self.uid if self.ending else f"{self.uid}.dcm"

    @property
    def path(self) -> str:
        """Path relative to the root of all layouts."""
        visit = self.visit
        project = PROJECTS[visit.layout]
        folder = visit.folder(self.scan)
        if visit.layout == "nejm_v4":
            return f"{project}/{set_folder(visit)}/{folder}/{self.filename}"
        if visit.layout == "famli3_vivli":
            return f"Cohort{1 + visit.index % 2}/{folder}/{self.filename}"
        return f"{project}/Ultrasound/{visit.day:%Y-%m}/{folder}/{self.filename}"

    @property
    def exclusion(self) -> str | None:
        """Why a right reader leaves it out; None where it does not."""
        visit = self.visit
        if visit.layout in ("famli2_enrolled", "famli2") and visit.role is Role.INELIGIBLE:
            return "not eligible"
        if visit.layout != "nejm_v4" and visit.role is Role.EXCLUDED_BY_TWIN_FILE:
            return "excluded by the twin file"
        if self.ending == ".png":
            return "picture"
        if self.frames == 1:
            return "still image"
        if self.lost:
            return "file not there"
        if is_single_file_exam(visit, self.scan):
            return "exam of a single file"
        return None


def set_type(visit: Visit) -> str:
    """Set of nejm_v4 that a visit belongs to; all visits of a patient lie in one."""
    return ("Training", "Tuning", "Test Sets")[visit.index % 3]


def set_folder(visit: Visit) -> str:
    """Folder of that set."""
    return {"Training": "SET1", "Tuning": "SET2", "Test Sets": "SET3"}[set_type(visit)]


def is_single_file_exam(visit: Visit, scan: Scan) -> bool:
    """True if the exam holds one file only, which nejm_v4 leaves out."""
    odd_exam = visit.role is Role.CORRECTED_TAGS and scan.kind == "butterfly"
    return visit.layout == "nejm_v4" and odd_exam


def recordings(visits: Iterable[Visit], config: PhantomConfig) -> Iterator[Recording]:
    """Every file that the tables name, exam by exam."""
    return (
        recording
        for visit in visits
        for scan in visit.scans
        for recording in _of_scan(visit, scan, config)
    )


def _of_scan(visit: Visit, scan: Scan, config: PhantomConfig) -> list[Recording]:
    found = _sweeps(visit, scan, config.frames)
    if scan.kind == "console":
        found += _extras(visit, scan, config.frames)
    found = _with_oddities(visit, scan, found)
    if is_single_file_exam(visit, scan):
        found = found[:1]
    return [replace(recording, number=number) for number, recording in enumerate(found)]


def _sweeps(visit: Visit, scan: Scan, frames: int) -> list[Recording]:
    is_novice = scan.kind == "novice"
    tags = {} if is_novice else _VERTICAL_TAGS[visit.index % len(_VERTICAL_TAGS)]
    prefix = "N" if is_novice else ""
    ending = _ending(visit, scan)
    found = []
    for sweep, repeat in visit.first.clips:
        tag = prefix + tags.get(sweep, sweep)
        printed: tuple[str, ...] = (tag,)
        if visit.layout == "nejm_v4" and scan.kind == "butterfly":
            tag, printed = "ASSBS", ()  # assumed to be a blind sweep: nothing tells which
        found.append(
            Recording(visit, scan, 0, sweep, "blind", printed, tag, frames, ending, repeat)
        )
    return found


def _extras(visit: Visit, scan: Scan, frames: int) -> list[Recording]:
    """A blind sweep of no canonical type, a biometric clip, and one whose print states a label."""
    labels = visit.first.labels
    ending = _ending(visit, scan)

    def extra(view: str, clip_class: str, *printed: str) -> Recording:
        return Recording(
            visit, scan, 0, view, clip_class, printed, printed[0], frames, ending, _EXTRA_REPEAT
        )

    presentation = _PRINTED_PRESENTATION[labels.presentation]
    placenta = _PRINTED_PLACENTA[labels.placenta]
    return [
        extra("R", "blind", "RTA"),
        extra("head", "biometric", "BPDA" if labels.fetuses > 1 else "BPD"),
        extra("abdomen", "diagnostic", presentation, *placenta),
    ]


def _with_oddities(visit: Visit, scan: Scan, found: list[Recording]) -> list[Recording]:
    """The recordings with what the patient's role makes odd about them."""
    first, second, last = found[0], found[1], found[-1]
    is_nejm = visit.layout == "nejm_v4"

    def tagged(tag: str, view: str) -> Recording:
        return replace(last, view=view, printed=(tag,), table_tag=tag)

    match visit.role, scan.kind:
        case Role.FILES, _:
            found[0] = replace(first, look="tinted")
            found[1] = replace(second, region=False)
            found.append(replace(tagged("CORD", "abdomen"), look="doppler"))
            if not is_nejm:  # whose table lists videos only
                found.append(replace(tagged("HC", "head"), frames=1))
            if visit.layout == "famli2_enrolled":
                found.append(replace(tagged("FL", "head"), frames=1, ending=".png"))
        case Role.NOVICE_BESIDE_REPORT, "console":
            found[0] = replace(first, frames=49)
            found[1] = replace(second, frames=50)
            found[-1] = replace(last, lost=True)
        case Role.CORRECTED_TAGS, "butterfly" if not is_nejm:
            wrong = "C3" if first.table_tag != "C3" else "M"
            found[0] = replace(first, table_tag=wrong, corrected_tag=first.table_tag)
            found[1] = replace(second, corrected_tag="", spacing=False)
        case Role.FORM_WITHOUT_AGE, "console" if not is_nejm:
            found[0] = replace(first, table_tag="", corrected_tag=first.table_tag)
        case Role.BLANK_TAGS, _ if not is_nejm:
            found[0] = replace(first, table_tag="")
            found[1] = replace(second, table_tag="None")
    return found


def _ending(visit: Visit, scan: Scan) -> Ending:
    bare = visit.layout == "nejm_v4"
    if visit.layout == "famli3_vivli" and scan.kind == "console":
        bare = visit.index % 2 == 1
    if bare:
        return ""
    return ".dcm" if scan.kind == "console" else ".mp4"

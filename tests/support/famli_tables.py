"""Small FAMLI layouts for tests: rows of clips, forms and reports, with defaults for all that a
test is not about.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bsou_dist.cohort.table import Cohort, read_cohort

Row = dict[str, object]

DELTA = "SequenceOfUltrasoundRegions_PhysicalDeltaX"
HEADERS = {  # by layout and table, as far as the maps use them
    "famli2_enrolled": {
        "clips": [
            "pid",
            "pidscan",
            "synapsepath",
            "filename",
            "manufacturer",
            "manufacturermodelname",
            "numberofframes",
            "tag",
        ],
        "spacing": ["filename", "PIDscan", DELTA],
        "forms": [
            "pidscan",
            "eligible",
            "ega",
            "us_lie",
            "us_plac",
            "us_dvp",
            "us_twin",
            "sc_ht",
            "sc_wt",
            "novice",
        ],
        "reports": [
            "PID",
            "StudyID",
            "Manufacturer",
            "tagname",
            "tagcontent",
            "numericvalue",
            "Derivation",
        ],
        "sonosite_reports": [
            "PID",
            "StudyID",
            "Manufacturer",
            "tagname",
            "MeasID",
            "tagcontent",
            "numericvalue",
        ],
    },
    "famli2": {
        "clips": [
            "pid",
            "pidscan",
            "pid_date_time",
            "filename",
            "manufacturer",
            "manufacturermodelname",
            "numberofframes",
            "tag",
        ],
        "spacing": ["SOPInstanceUID", "PIDscan", DELTA],
        "forms": [
            "pid",
            "pidscan",
            "eligible",
            "ega",
            "us_lie",
            "us_plac",
            "us_dvp",
            "us_twin",
            "sc_ht",
            "sc_wt",
            "novice",
        ],
        "reports": [
            "pid",
            "pidscan",
            "manufacturer",
            "tagname",
            "tagcontent",
            "numericvalue",
            "derivation",
        ],
    },
    "famli3": {
        "clips": [
            "PID",
            "PIDscan",
            "PID_date_time",
            "file",
            "Manufacturer",
            "ManufacturerModelName",
            "NumberOfFrames",
            "tag",
        ],
        "spacing": ["file", DELTA],
        "forms": [
            "PID",
            "PIDscan",
            "ega",
            "us_wks",
            "us_day",
            "us_lie",
            "us_plac",
            "us_dvp_ge",
            "us_twin",
            "sc_ht",
            "sc_wt",
            "novice",
        ],
        "reports": [
            "PID",
            "PIDscan",
            "manufacturer",
            "tagname",
            "tagcontent",
            "numericvalue",
            "derivation",
        ],
    },
    "nejm_v4": {
        "clips": ["study_id", "pid", "study_id_with_acquisition_source", "file_path", "tag"],
        "studies": ["study_id", "pid", "ga_boe", "ga_anchor", "set_type"],
        "forms": ["pidscan", "us_lie", "us_plac", "us_dvp", "sc_ht", "sc_wt"],
    },
}
CORRECTIONS = {
    "tag_corrections": ["filename", "tag_final"],
    "twins": ["PID", "us_twin", "NOF", "FINAL_TWIN"],
}
FILES = {
    "famli2_enrolled": {
        "clips": "FAMLI2_enrolled/Tabular_data/FAMLI2_instance_table_20180907_20220531_tags.csv",
        "spacing": "FAMLI2_enrolled/Tabular_data/FAMLI2_20180907_20220531_mp4_IT.csv",
        "forms": "FAMLI2_enrolled/Tabular_data/FAMLI2_case_report_forms.xlsx",
        "reports": "FAMLI2_enrolled/Tabular_data/FAMLI2_DICOM_structured_reports.csv",
        "sonosite_reports": "FAMLI2_enrolled/Tabular_data/FAMLI2_non-DICOM_structured_reports.csv",
        "tag_corrections": "FAMLI_corrections_GHL/FAMLI2_enrolled_tag_corrections_20250417.csv",
        "twins": "FAMLI_corrections_GHL/FAMLI2_enrolled_Twins_20250417.csv",
    },
    "famli2": {
        "clips": "FAMLI2/tabular/famli2_it_all_tags.csv",
        "spacing": "FAMLI2/tabular/FAMLI2_mp4_IT.csv",
        "forms": "FAMLI2/tabular/famli2_crf.csv",
        "reports": "FAMLI2/tabular/FAMLI2_SR.csv",
        "tag_corrections": "FAMLI_corrections_GHL/FAMLI2_tag_corrections_20250417.csv",
        "twins": "FAMLI_corrections_GHL/FAMLI2_Twins_20250417.csv",
    },
    "famli3": {
        "clips": "FAMLI3/Tabular_Data/famli3_it.csv",
        "spacing": "FAMLI3/Tabular_Data/FAMLI3_mp4_IT.csv",
        "forms": "FAMLI3/Tabular_Data/famli3_crf.csv",
        "reports": "FAMLI3/Tabular_Data/famli3_sr.csv",
        "tag_corrections": "FAMLI_corrections_GHL/FAMLI3_tag_corrections_20250707.csv",
        "twins": "FAMLI_corrections_GHL/FAMLI3_Twins_20250417.csv",
    },
    "nejm_v4": {
        "clips": "GA_NEJME/GA_NEJME_ultrasound_instances.csv",
        "studies": "GA_NEJME/GAEstimationAnalysisStudies_NEJMEvidence.csv",
        "forms": "FAMLI2_enrolled/Tabular_data/FAMLI2_case_report_forms.xlsx",
    },
}


@dataclass
class Famli:
    """A layout under a folder. Rows are cells in the order of ``HEADERS``, as text."""

    root: Path
    layout: str
    tables: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, role: str, **cells: object) -> None:
        """One row of a table."""
        self.tables.setdefault(role, []).append(cells)

    def clip(
        self,
        file: str = "1.2.3.dcm",
        *,
        patient: str = "FA3-025-1001",
        visit: int = 1,
        day: str = "20240110",
        tag: str = "M",
        maker: str = "GE Healthcare",
        model: str = "V830",
        frames: str = "120",
        folder: str | None = None,
        study: str | None = None,
    ) -> None:
        """One clip of a folder layout."""
        study = f"{patient}-{visit}" if study is None else study
        folder = f"{study}_{day}_101500" if folder is None else folder
        if self.layout == "famli2_enrolled":
            folder = f"FAMLI2_enrolled/{folder}" if folder else folder
        cells = (patient, study, folder, file, maker, model, frames, tag)
        self.add("clips", **dict(zip(HEADERS[self.layout]["clips"], cells, strict=True)))

    def form(self, study: str = "FA3-025-1001-1", **cells: object) -> None:
        """A visit's form; the cells are by their own header."""
        key = "PIDscan" if self.layout == "famli3" else "pidscan"
        self.add("forms", **{key: study, **cells})

    def measured(
        self,
        name: str,
        value: object = "",
        *,
        text: str = "",
        study: str = "FA3-025-1001-1",
        maker: str = "GE Healthcare (V830)",
        derivation: str = "",
    ) -> None:
        """A row of a structured report."""
        _, study_, maker_, name_, text_, number, derivation_ = HEADERS[self.layout]["reports"]
        self.add(
            "reports",
            **{
                study_: study,
                maker_: maker,
                name_: name,
                text_: text,
                number: value,
                derivation_: derivation,
            },
        )

    def read(self, **options: object) -> Cohort:
        """Write all tables and read them."""
        self.write()
        return read_cohort(self.root, **{"column_map": self.layout, **options})  # type: ignore[arg-type]

    def write(self) -> None:
        """Tables without rows are written with their header, except for corrections."""
        for role, name in FILES[self.layout].items():
            rows = self.tables.get(role, [])
            if not rows and role in CORRECTIONS:
                continue
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            headers = CORRECTIONS.get(role) or HEADERS[self.layout][role]
            others = [name for row in rows for name in row if name not in headers]
            frame = pd.DataFrame(rows, columns=[*headers, *dict.fromkeys(others)])
            if path.suffix == ".xlsx":
                frame.to_excel(path, index=False, sheet_name="FAMLI2 CRFs")
            else:
                frame.to_csv(path, index=False)

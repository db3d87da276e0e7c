from __future__ import annotations

import pytest

from bsou_dist.cohort.famli.tags import read_tag

EXPECTED = {
    "M": "M0 M1 N n NM ASSM CALCM AssumedM ASSBS_M IM m",
    "L": "L L0 L1 L2 L3 NL NL0 NL1 ASSL0 CALCL1 ASSBS_L1 IL0 LO LI ILO",
    "R": "R R0 R1 R2 R3 NR NR0 NR1 ASSR0 CALCR1 ASSBS_R1 IR0 RO RI IRO",
    "C1": "C1 NC1 ASSC1 CALCC1 IC1 CI",
    "C2": "C2 NC2 ASSC2 CALCC2 IC2",
    "C3": "C3 NC3 ASSC3 CALCC3",
}


@pytest.mark.parametrize(
    ("tag", "sweep"), [(tag, sweep) for sweep, tags in EXPECTED.items() for tag in tags.split()]
)
def test_canonical_sweeps(tag, sweep):
    assert read_tag(tag)[:2] == (sweep, "blind")


@pytest.mark.parametrize(
    "tag",
    [
        "L15",
        "ML",
        "L45",
        "R15",
        "MR",
        "R45",
        "C4",
        "C5",
        "C6",
        "NC",
        "NC4",
        "C",
        "ASSBS",
        "RTA",
        "RTB",
        "RTC",
        "FA1",
        "FA2",
        "LI5",
        "RI5",
    ],
)
def test_blind_sweeps_of_no_canonical_type(tag):
    assert read_tag(tag)[:2] == (None, "blind")


@pytest.mark.parametrize(
    "tag", ["GS", "YS", "CRL", "BPD", "BPD2", "HC", "AC3", "FL", "HL", "TCD", "BPDA", "ACB"]
)
def test_biometric(tag):
    assert read_tag(tag) == (None, "biometric", False)


@pytest.mark.parametrize("tag", ["DVP", "ANT PLAC", "BREECH", "3D1", "3DI", "CERVIX", "never seen"])
def test_everything_else_is_diagnostic(tag):
    assert read_tag(tag) == (None, "diagnostic", False)


def test_unknown_tags_say_nothing():
    assert read_tag("Undecided") == read_tag("no tag") == (None, None, False)


@pytest.mark.parametrize(
    ("tag", "novice"), [("NM", True), ("NC4", True), ("M", False), ("N", True), ("NECK", False)]
)
def test_a_leading_n_marks_a_novice(tag, novice):
    assert read_tag(tag).novice is novice

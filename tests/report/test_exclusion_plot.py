from __future__ import annotations

import io

from PIL import Image

from bsou_dist.cohort.exclusions import FlowStep
from bsou_dist.report.exclusion_plot import flow_png

FOUND = FlowStep("as found", 10, 12, 15, 100)
COHORT = [FOUND, FlowStep("still image", 10, 12, 15, 80), FlowStep("listed before", 10, 12, 15, 80)]
PACKING = [FlowStep("rejected when packed: colour Doppler", 9, 11, 14, 70)]


def height_px(*flow: list[FlowStep]) -> int:
    return Image.open(io.BytesIO(flow_png(*flow))).height


def test_a_row_for_each_step_that_left_clips_out():
    one, two, three = height_px([FOUND]), height_px(COHORT), height_px(COHORT, PACKING)
    assert one < two
    assert two - one == three - two
    assert height_px(COHORT, [COHORT[-1]]) == two


def test_the_same_flow_gives_the_same_bytes():
    assert flow_png(COHORT, PACKING) == flow_png(COHORT, PACKING)
    assert flow_png(COHORT, PACKING) != flow_png(
        COHORT + PACKING
    )  # where the cohort ends is marked

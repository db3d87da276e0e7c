from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bsou_dist.phantom.files.meta_image import write_meta_image


@pytest.mark.parametrize("compressed", [False, True])
def test_another_program_reads_what_was_written(tmp_path: Path, compressed: bool) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, 5, 6), dtype=np.uint8)
    write_meta_image(tmp_path / "a.mha", frames, 0.28, compressed=compressed)
    image = sitk.ReadImage(str(tmp_path / "a.mha"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), frames)
    assert image.GetSpacing() == pytest.approx((0.28, 0.28, 0.28))

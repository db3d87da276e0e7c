"""What a DICOM header says of a frame's directions, where that is not what the frame shows.

Frames stay as they are stored, which is how every viewer shows them: none of these elements tells
where the probe's mark is, and some are left over from before the picture was turned.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from bsou_dist.sources.orientation import orientation_note

_OPPOSITES = ("AP", "HF", "LR")
_DOWN_AWAY_FROM_A_PROBE_ON_THE_BELLY = "P"
_IN_DEPTH = "AP"


def orientation_notes(header: Dataset) -> tuple[str, ...]:
    """Notes about PatientOrientation (PS3.3 C.7.6.1.1.1), for a probe on the belly.

    Its two values are the directions of the rows, from left to right, and of the columns, downward.
    """
    values = header.get("PatientOrientation")
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != 2:
        return ()
    across, down = (str(value).strip().upper()[:1] for value in values)
    axes = [axis for axis in _OPPOSITES for letter in (across, down) if letter and letter in axis]
    if len(axes) < 2:
        return ()
    if axes[0] == axes[1]:
        return (orientation_note("PatientOrientation", "names the same axis twice"),)
    if across in _IN_DEPTH:
        return (orientation_note("PatientOrientation", "says that depth runs sideways"),)
    if down in _IN_DEPTH and down != _DOWN_AWAY_FROM_A_PROBE_ON_THE_BELLY:
        return (orientation_note("PatientOrientation", "says that depth runs upward"),)
    return ()

"""Tissues and their acoustics."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Tissue(IntEnum):
    """Material of a point of the body; from ``MYOMETRIUM`` upwards it lies in the uterus."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    BOWEL = 4
    MATERNAL_BONE = 5
    VESSEL = 6
    URINE = 7
    GAS = 8
    MYOMETRIUM = 9
    FLUID = 10
    PLACENTA = 11
    SOFT = 12
    SKULL = 13
    BRAIN = 14
    FALX = 15
    VENTRICLE = 16
    CHOROID = 17
    LUNG = 18
    LIVER = 19
    STOMACH = 20
    HEART = 21
    BLOOD = 22
    KIDNEY = 23
    BONE = 24
    VERTEBRA = 25


# Scattering (dB, 0 is bone), loss there and back (dB/cm), impedance (arbitrary: its steps make
# interfaces), patchiness (dB of slow variation in space); chosen by eye.
_ACOUSTICS: dict[Tissue, tuple[float, float, float, float]] = {
    Tissue.AIR: (-50.0, 60.0, 0.9, 0.0),
    Tissue.SKIN: (-9.0, 3.0, 1.68, 0.0),
    Tissue.FAT: (-21.0, 2.6, 1.45, 4.0),
    Tissue.MUSCLE: (-17.0, 2.4, 1.68, 3.0),
    Tissue.BOWEL: (-15.0, 4.5, 1.58, 9.0),
    Tissue.MATERNAL_BONE: (-2.0, 45.0, 3.5, 0.0),
    Tissue.VESSEL: (-44.0, 0.6, 1.58, 0.0),
    Tissue.URINE: (-60.0, 0.1, 1.50, 0.0),
    Tissue.GAS: (1.0, 30.0, 2.6, 6.0),
    Tissue.MYOMETRIUM: (-24.0, 2.4, 1.66, 2.0),
    Tissue.FLUID: (-52.0, 0.1, 1.48, 3.0),
    Tissue.PLACENTA: (-9.0, 2.0, 1.64, 1.5),
    Tissue.SOFT: (-20.0, 2.2, 1.66, 2.0),
    Tissue.SKULL: (0.0, 22.0, 2.6, 0.0),
    Tissue.BRAIN: (-28.0, 1.2, 1.58, 2.0),
    Tissue.FALX: (-8.0, 2.0, 1.75, 0.0),
    Tissue.VENTRICLE: (-46.0, 0.2, 1.52, 0.0),
    Tissue.CHOROID: (-9.0, 2.0, 1.62, 0.0),
    Tissue.LUNG: (-15.0, 2.6, 1.63, 1.0),
    Tissue.LIVER: (-21.0, 2.0, 1.64, 1.0),
    Tissue.STOMACH: (-52.0, 0.1, 1.50, 0.0),
    Tissue.HEART: (-19.0, 2.0, 1.67, 0.0),
    Tissue.BLOOD: (-46.0, 0.4, 1.58, 0.0),
    Tissue.KIDNEY: (-24.0, 2.0, 1.60, 0.0),
    Tissue.BONE: (4.0, 26.0, 3.0, 0.0),
    Tissue.VERTEBRA: (4.0, 16.0, 3.0, 0.0),
}
_TABLE = np.array([_ACOUSTICS[tissue] for tissue in Tissue], np.float32)

SCATTER_DB = _TABLE[:, 0].copy()
"""Scattering of each tissue (dB relative to bone)."""
LOSS_DB_PER_MM = _TABLE[:, 1] / 10.0
"""Attenuation there and back (dB per mm of depth)."""
IMPEDANCE = _TABLE[:, 2].copy()
"""Acoustic impedance (arbitrary unit)."""
PATCHINESS_DB = _TABLE[:, 3].copy()
"""Amplitude (dB) of the slow variation of scattering in space."""

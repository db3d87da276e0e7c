"""How a fetus and its surroundings grow: published charts, as functions of gestational age."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Biometry:
    """Fetal size (mm): biparietal diameter, head circumference, abdominal circumference, femur length."""

    bpd_mm: float
    hc_mm: float
    ac_mm: float
    fl_mm: float

    @property
    def ofd_mm(self) -> float:
        """Occipitofrontal diameter (mm), from HC = pi (BPD + OFD) / 2."""
        return 2.0 * self.hc_mm / math.pi - self.bpd_mm


def biometry(ga_days: float) -> Biometry:
    """Mean size at an age.

    Hadlock, Deter, Harrist, Park, Radiology 1984;152:497-501 (predicted measurements by menstrual week, cm).
    """
    w = ga_days / 7.0
    return Biometry(
        bpd_mm=10.0 * (-3.08 + 0.41 * w - 0.000061 * w**3),
        hc_mm=10.0 * (-11.48 + 1.56 * w - 0.0002548 * w**3),
        ac_mm=10.0 * (-13.3 + 1.61 * w - 0.00998 * w**2),
        fl_mm=10.0 * (-3.91 + 0.427 * w - 0.0034 * w**2),
    )


def fetal_weight_g(ga_days: float) -> float:
    """Mean weight (g): ln W = 0.578 + 0.332 w - 0.00354 w^2 (Hadlock et al., Radiology 1991;181:129)."""
    w = ga_days / 7.0
    return math.exp(0.578 + 0.332 * w - 0.00354 * w**2)


def placenta_thickness_mm(ga_days: float) -> float:
    """Mean thickness (mm): about one millimetre per week (Hoddick et al., J Ultrasound Med 1985;4:479)."""
    return 0.95 * ga_days / 7.0


def fluid_volume_ml(ga_days: float) -> float:
    """Mean amniotic fluid volume (ml): rises to about 780 at 33 weeks, then falls (Brace & Wolf, AJOG 1989;161:382)."""
    return float(np.interp(ga_days / 7.0, (12, 16, 20, 24, 28, 33, 37, 41), (60, 190, 360, 520, 670, 780, 740, 560)))


def non_cephalic_share(ga_days: float) -> float:
    """Share not presenting by the head (after Scheer & Nubar, AJOG 1976;125:269; before 20 weeks near one half)."""
    return float(np.interp(ga_days / 7.0, (16, 22.5, 26.5, 30.5, 34.5, 38.5), (0.48, 0.37, 0.30, 0.16, 0.10, 0.07)))

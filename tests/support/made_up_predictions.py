from __future__ import annotations

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def predictions() -> pd.DataFrame:
    """60 test, 30 valid and 60 train patients with two exams of four clips: presentation, sweep and
    ga in two sets.
    """
    rng = np.random.default_rng(0)
    rows = []
    for set_name, split, patients in (
        ("main", "train", 60),
        ("main", "valid", 30),
        ("main", "test", 60),
        ("obese", "test", 10),
    ):
        for patient in range(patients):
            for visit in (0, 1):
                exam = f"{set_name}-{split}-{patient}-{visit}"
                base = {
                    "set": set_name,
                    "split": split,
                    "exam": exam,
                    "study": exam,
                    "patient": f"{set_name}-{split}-{patient}",
                    "bmi": 25.0,
                    "device": "GE V830",
                }
                cephalic = rng.uniform() < 0.6
                chance = float(
                    np.clip((0.3 if cephalic else 0.7) + 0.25 * rng.normal(), 0.01, 0.99)
                )
                rows.append(
                    base
                    | {
                        "task": "presentation",
                        "level": "exam",
                        "key": exam,
                        "label": 1.0 - cephalic,
                        "prediction": float(chance > 0.5),
                        "probabilities": [1 - chance, chance],
                    }
                )
                ga_days, exam_error = rng.uniform(100, 280), 5 * rng.normal()
                for clip, sweep in enumerate(("M", "L", "R", "C1")):
                    shares = rng.dirichlet(np.ones(6) + 3 * (np.arange(6) == clip))
                    of_clip = base | {
                        "level": "clip",
                        "key": f"{exam}-{clip}",
                        "sweep": sweep,
                        "ga_days": ga_days,
                    }
                    rows.append(
                        of_clip
                        | {
                            "task": "sweep",
                            "label": float(clip),
                            "probabilities": shares.tolist(),
                            "prediction": float(shares.argmax()),
                        }
                    )
                    rows.append(
                        of_clip
                        | {
                            "task": "ga",
                            "label": ga_days,
                            "variance": float(rng.uniform(50, 150)),
                            "prediction": ga_days + exam_error + 10 * rng.normal(),
                        }
                    )
    return pd.DataFrame(rows)

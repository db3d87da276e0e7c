"""Which of a corpus's clips come along where heads are tuned on a share of its patients."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from bsou_dist.experiment.corpus import Corpus
from bsou_dist.experiment.record import DataRecord


def corpus(patients: int) -> Corpus:
    """Three clips of each patient."""
    names = np.repeat([f"p{number:03d}" for number in range(patients)], 3)
    manifest = pd.DataFrame({"patient": names})
    return Corpus("shards", manifest, pd.DataFrame(), DataRecord("", {}), (), {})


def patients_of(corpus: Corpus, share: float, seed: int = 0) -> set[str]:
    rows = corpus.rows_of_share(np.arange(len(corpus.manifest)), share, seed)
    chosen = corpus.manifest["patient"].iloc[rows]
    assert (chosen.value_counts() == 3).all(), "patients come whole"
    return set(chosen)


def test_shares_are_nested_and_of_patients():
    of_40 = corpus(40)
    shares = [patients_of(of_40, share) for share in (0.1, 0.25, 0.5, 1.0)]
    assert [len(names) for names in shares] == [4, 10, 20, 40]
    assert all(few < many for few, many in pairwise(shares))


def test_a_share_hangs_on_the_seed():
    of_40 = corpus(40)
    assert patients_of(of_40, 0.25) == patients_of(of_40, 0.25)
    assert patients_of(of_40, 0.25) != patients_of(of_40, 0.25, seed=1)


def test_one_patient_is_the_least():
    assert len(patients_of(corpus(5), 0.01)) == 1

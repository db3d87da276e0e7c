"""The probe of stage 1: what neighbours tell of classes, against plain loops; and in a run."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bsou_dist.cli import main
from bsou_dist.common.settings import read_settings
from bsou_dist.engine.checkpoint import BEST, load_checkpoint
from bsou_dist.experiment.config import RunConfig
from bsou_dist.experiment.probe import TEMPERATURE, class_separation
from bsou_dist.tracking.delivery import read_spool

REFERENCE, EXAMS, CLIPS = 40, 9, 3


def plain_shares(embeddings, classes, neighbours):
    """Votes of the nearest reference clips for class 1, a clip at a time."""
    shares = []
    for clip in embeddings[REFERENCE:]:
        votes = []
        for other, label in zip(embeddings[:REFERENCE], classes[:REFERENCE], strict=True):
            if label >= 0:
                cosine = clip @ other / np.linalg.norm(clip) / np.linalg.norm(other)
                votes.append((cosine, label))
        nearest = sorted(votes, reverse=True)[:neighbours]
        weights = [math.exp(cosine / TEMPERATURE) for cosine, _ in nearest]
        said = sum(w for w, (_, label) in zip(weights, nearest, strict=True) if label == 1)
        shares.append(said / sum(weights))
    return np.array(shares)


def plain_area(label, score):
    pairs = [(a, b) for a in score[label == 1] for b in score[label == 0]]
    return sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)


@pytest.fixture
def embedded():
    """Embeddings, and a class for each exam that they tell something of."""
    rng = np.random.default_rng(3)
    exam = np.repeat(np.arange(EXAMS), CLIPS)
    classes = np.concatenate([np.arange(REFERENCE) % 2, (np.arange(EXAMS) % 2)[exam]])
    embeddings = rng.normal(size=(len(classes), 8))
    embeddings[:, 0] += 0.1 * classes
    return embeddings, classes, np.array([f"exam{number}" for number in exam])


def test_the_class_of_an_exam_is_told_by_all_its_clips(embedded):
    embeddings, classes, exam = embedded
    classes[:5] = -1
    share = plain_shares(embeddings, classes, 7).reshape(EXAMS, CLIPS).mean(axis=1)
    expected = plain_area(classes[REFERENCE:].reshape(EXAMS, CLIPS)[:, 0], share)
    assert 0.0 < expected < 1.0
    found = class_separation(embeddings, {"a": classes}, exam, 7)
    assert found == pytest.approx(expected, abs=1e-12)


def test_clips_of_an_exam_that_differ_are_judged_one_by_one(embedded):
    embeddings, classes, exam = embedded
    classes[REFERENCE:] = np.arange(len(exam)) % 2
    share = plain_shares(embeddings, classes, 7)
    expected = plain_area(classes[REFERENCE:], share)
    found = class_separation(embeddings, {"a": classes}, exam, 7)
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_task_without_two_classes_to_tell_does_not_count(embedded):
    embeddings, classes, exam = embedded
    alone = class_separation(embeddings, {"a": classes}, exam, 5)
    of_one_class = np.where(classes >= 0, 1, -1)
    unknown = np.full_like(classes, -1)
    labels = {"one": of_one_class, "none": unknown, "a": classes}
    assert class_separation(embeddings, labels, exam, 5) == alone


@pytest.mark.parametrize("method", ["mtscon", "ucon"])
def test_a_run_keeps_the_weights_that_the_probe_judged_best(write_config, method):
    stage = {"method": method, "global_batch": 12, "epochs": 3, "probe": {"neighbours": 5}}
    config = write_config(pretrain=stage, finetune=None)
    assert main(["train", str(config)]) == 0
    run = config.parent / "runs/small"
    judged = [
        event["values"]["valid/probe"]
        for event in read_spool(run / "tracking.jsonl")
        if "valid/probe" in event.get("values", {})
    ]
    assert len(judged) == 3
    assert all(0.0 <= value <= 1.0 for value in judged)
    best = load_checkpoint(run / "pretrain" / BEST)
    assert best.epoch == 1 + int(np.argmin(judged))
    assert best.best == min(judged)


def test_a_probe_that_could_tell_nothing_is_refused(write_config, capsys):
    stage = {"tasks": ["placenta"], "global_batch": 12, "epochs": 1, "probe": {"clips": 2}}
    config = write_config(pretrain=stage, finetune=None, seed=1)
    assert main(["train", str(config), "data.splits.stage1={train: 10, valid: 1}"]) == 2
    assert "pretrain.probe: of none of the tasks placenta" in capsys.readouterr().err


def test_steps_at_least_make_as_many_epochs_as_it_takes(write_config):
    config = read_settings(RunConfig, write_config(), ["finetune.min_steps=7"])
    assert config.finetune is not None
    assert [config.finetune.epochs_of(steps) for steps in (1, 2, 3, 50)] == [7, 4, 3, 2]

"""A probe of stage 1: what embeddings tell of the classes, by their nearest neighbours.

The vote is that of Wu, Xiong, Yu, Lin, *Unsupervised Feature Learning via Non-Parametric Instance
Discrimination*, CVPR 2018, section 3.4: neighbours by cosine similarity s, each with the weight
exp(s / 0.07).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bsou_dist.common.errors import InputError
from bsou_dist.common.keyed_random import keyed_permutation
from bsou_dist.evaluation.estimates import Clusters
from bsou_dist.evaluation.figures import Area
from bsou_dist.evaluation.metrics import Scored
from bsou_dist.experiment.config import ProbeConfig
from bsou_dist.experiment.context import Context
from bsou_dist.feed.dataset import ClipSet
from bsou_dist.feed.loader import Loader
from bsou_dist.model.encoder import Encoder
from bsou_dist.predict.forward import embed
from bsou_dist.tasks.task import Task

CLIPS_PER_BATCH = 32
"""Per process; bounds memory, changes no embedding."""
TEMPERATURE = 0.07


@dataclass(frozen=True)
class NeighbourProbe:
    """Judges an encoder by how well its embeddings tell the classes of validation exams.

    Called, it gives 1 minus the area under the ROC curve, the mean over tasks: 0 is perfect, 0.5
    chance. Collective, and the same on every rank.
    """

    context: Context
    encoder: Encoder
    loader: Loader
    """Gives the reference clips, then the validation clips."""
    labels: Mapping[str, np.ndarray]
    """Class of every one of these clips, int64, -1 where it is missing, by task."""
    exam: np.ndarray
    """Exam of every validation clip."""
    neighbours: int

    def __call__(self) -> float:
        """See the class."""
        processes = self.context.processes
        speed = self.context.config.engine
        found = embed(self.encoder, self.loader, processes, "probe", speed, shown=False)
        value = 0.0
        if found is not None:
            embeddings, is_decoded = found
            labels = {
                name: np.where(is_decoded, classes, -1) for name, classes in self.labels.items()
            }
            value = 1.0 - class_separation(embeddings, labels, self.exam, self.neighbours)
        return processes.broadcast(value)


def make_probe(
    context: Context,
    config: ProbeConfig,
    tasks: Sequence[Task],
    encoder: Encoder,
    split_column: str,
) -> NeighbourProbe:
    """The probe of an encoder of stage 1.

    Args:
        context: the run.
        config: how many neighbours, among how many clips.
        tasks: with the classes that stage 1 compares clips by.
        encoder: what is judged.
        split_column: of stage 1.

    Raises:
        InputError: of no task are there clips of two classes to validate with and to search in.
    """
    corpus = context.corpus
    train = corpus.rows(split_column, "train")
    drawn = keyed_permutation(len(train), "probe", context.config.seed)[: config.clips]
    reference = train[np.sort(drawn)]
    valid = corpus.rows(split_column, "valid")
    rows = np.concatenate([reference, valid])
    labels = {task.name: corpus.labels(task)[rows] for task in tasks}
    if not any(_can_be_judged(classes, len(valid)) for classes in labels.values()):
        raise InputError(
            f"pretrain.probe: of none of the tasks {', '.join(labels)} do the validation clips "
            "and the training clips drawn for it show two classes; raise probe.clips, change the "
            "splits, or leave the probe out"
        )
    clips = ClipSet(corpus.shards, corpus.manifest.iloc[rows], {})
    loader = context.loader(
        clips,
        context.pixels(clips),
        global_batch=CLIPS_PER_BATCH * context.processes.world,
        training=False,
    )
    exam = corpus.manifest["exam"].iloc[valid].to_numpy()
    return NeighbourProbe(context, encoder, loader, labels, exam, config.neighbours)


def _can_be_judged(classes: np.ndarray, valid: int) -> bool:
    parts = classes[:-valid], classes[-valid:]
    return all(len(np.unique(part[part >= 0])) > 1 for part in parts)


def class_separation(
    embeddings: np.ndarray, labels: Mapping[str, np.ndarray], exam: np.ndarray, neighbours: int
) -> float:
    """Mean over tasks of the area under the ROC curve of classes told by neighbours.

    Where all clips of each exam have one class, votes are averaged over the exam. A task of which
    no area is defined does not count.

    Args:
        embeddings: (m + n, C), of m reference clips and then n validation clips.
        labels: by task the class of each of these clips, -1 where it is missing.
        exam: (n,), exam of each validation clip.
        neighbours: reference clips with a label that vote on a validation clip.
    """
    count = len(exam)
    unit = embeddings.astype(float)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    similarity = unit[-count:] @ unit[:-count].T
    areas = [
        _area(similarity, classes[:-count], classes[-count:], exam, neighbours)
        for classes in labels.values()
    ]
    return float(np.nanmean(areas))


def _area(
    similarity: np.ndarray,
    reference_class: np.ndarray,
    valid_class: np.ndarray,
    exam: np.ndarray,
    neighbours: int,
) -> float:
    """Area of one task; NaN where it is not defined."""
    known = np.flatnonzero(reference_class >= 0)
    judged = np.flatnonzero(valid_class >= 0)
    if not len(known) or not len(judged):
        return np.nan
    alike = similarity[np.ix_(judged, known)]
    nearest = np.argsort(-alike, axis=1, kind="stable")[:, :neighbours]
    weight = np.exp((np.take_along_axis(alike, nearest, axis=1) - 1.0) / TEMPERATURE)
    voted = reference_class[known][nearest]
    classes = np.arange(max(reference_class.max(), valid_class.max()) + 1)
    votes = (weight[..., None] * (voted[..., None] == classes)).sum(axis=1)
    share = votes / votes.sum(axis=1, keepdims=True)

    label = valid_class[judged]
    _, exam_of_clip = np.unique(exam[judged], return_inverse=True)
    clips_of_exam = np.bincount(exam_of_clip)
    mean_label = np.bincount(exam_of_clip, weights=label) / clips_of_exam
    if np.array_equal(mean_label[exam_of_clip], label):
        totals = np.zeros((len(clips_of_exam), len(classes)))
        np.add.at(totals, exam_of_clip, share)
        share = totals / clips_of_exam[:, None]
        label = mean_label
    each_alone = Clusters.of(np.arange(len(label)))
    return Area().estimate(Scored(label, share.argmax(axis=1), share), each_alone).value

"""How wrong a score is: its mean absolute error."""

import torch

from bsou_dist.objective.collective import global_sum


class ScoreLoss:
    def __init__(self, task, head, train_labels):
        self.task = task.name

    def __call__(self, scores, batch):
        label = batch.labels[self.task]
        labelled = ~label.isnan()
        error = torch.where(labelled, scores - label, 0.0).abs().sum()
        return global_sum(error) / global_sum(labelled.sum().float()).clamp(min=1)

    def weight(self, batch):
        return (~batch.labels[self.task].isnan()).sum()

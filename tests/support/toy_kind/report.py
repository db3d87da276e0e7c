"""How a score looks in a table; it is not drawn."""

from typing import ClassVar


class ScoreReport:
    legend = "Scores: mean absolute error / bias."

    details_legends: ClassVar = {}

    def heading(self, task):
        return f"{task.name} (of {task.best:g}) ↓"

    def figure(self, task, value):
        return f"{value:.2f}"

    def counts(self, task, recorded):
        return []

    def details(self, task, recorded):
        return {}

    def metric_name(self, task, metric):
        return metric

    def plots(self, task, units, level):
        return {}

"""How a score looks in a table; it is not drawn."""


class ScoreReport:
    legend = "Scores: mean absolute error / bias."

    def heading(self, task):
        return f"{task.name} (of {task.best:g}) ↓"

    def figure(self, task, value):
        return f"{value:.2f}"

    def plot(self, task, units, level):
        return None

"""The tasks of [P1], by name, for tests that need tasks and do not care which."""

from bsou_dist.tasks.task_set import load_tasks

TASKS = load_tasks("p1")

"""What can be asked of a clip or of an exam, as data.

A task is a record: a name, a kind, a level, the label's column, and what its kind adds. Tasks come
from YAML: ready sets ship with the package (`sets/`), and a config names a set, adds tasks or
overrides some. Nothing global holds tasks; whoever needs them is given the run's own.

| file | question |
|---|---|
| `task` | What is a task, whatever its kind? |
| `kinds/` | What does a kind add, and how does it read a label? |
| `task_set` | Which tasks does a run have? |
| `labels` | How is a missing label written in an array? |
| `sets/` | Which tasks are ready? One YAML file per paper. |

No file here needs torch.
"""

"""Losses of stage 2, one file for each kind of task.

| file | question |
|---|---|
| `classification` | How wrong are logits, with rare classes weighing more? |
| `regression` | How unlikely is a number under a predicted distribution? |
| `make` | Which loss belongs to a task? |
"""

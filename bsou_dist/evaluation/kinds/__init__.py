"""What predictions are worth, one file for each kind of task.

| file | question |
|---|---|
| `protocol` | What must a kind tell about its predictions? |
| `classification` | How often is the class right, and what does the majority reach? |
| `regression` | How far off is the number, per clip and per exam, and how far is the mean? |
| `make` | Which of them belongs to a task? |
"""

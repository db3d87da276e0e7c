"""How results are shown, one file for each kind of task.

| file | question |
|---|---|
| `protocol` | What must a kind tell a table and a report? |
| `classification` | Which percentages, and which classes are taken for which? |
| `regression` | Which errors in which unit, and where do they lie? |
| `make` | Which of them belongs to a task? |
"""

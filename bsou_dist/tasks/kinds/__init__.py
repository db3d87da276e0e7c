"""The kinds of task, one file each: what its YAML adds, and how it reads a label.

| file | question |
|---|---|
| `classification` | Which of some classes? |
| `regression` | What number, in a unit? |
| `make` | Which class does a kind's name stand for, and is a block of YAML a task of it? |

A new kind is a file here and a line in `make`, and likewise in `model/heads/`, `objective/kinds/`,
`evaluation/kinds/` and `report/kinds/`; no other file asks for a task's kind.
"""

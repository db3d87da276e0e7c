"""The phantom's patients as ACOUSLIC-AI's folder: a stack of six sweeps per file, and a table.

No file of the corpus was seen but its table and a mask of its fan. Made up are which of the sweeps
1 to 3 is the middle one, and which end of a short sweep is filled.

| file | question |
|---|---|
| `stacks` | Which stacks does a patient leave, and what is in them? |
| `circumference` | Which circumference of the abdomen does a sweep show, if any? |
| `write` | How are stacks, their table and the answers written? |
"""

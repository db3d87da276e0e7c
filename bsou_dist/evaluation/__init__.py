"""From predictions to numbers with intervals.

| file | question |
|---|---|
| `evaluate` | Which records follow from `predictions.parquet`? |
| `kinds/` | What is reported of a kind of task, and what is the predictor to beat? |
| `metrics` | How is each metric defined, for weighted units? |
| `aggregate` | What is the value of an exam from those of its clips? |
| `bootstrap` | How sure is a figure? |

No file here needs torch.
"""

"""From predictions to numbers with intervals.

| file | question |
|---|---|
| `evaluate` | Which records follow from `predictions.parquet`? |
| `kinds/` | What is reported of a kind of task, and what is the predictor to beat? |
| `metrics` | What is measured of each unit? |
| `binary` | What do a threshold and a ranking say of two classes, one of them rare? |
| `calibration` | Do probabilities of classes mean what they say? |
| `figures` | Which kinds of figure are there, and how is each estimated? |
| `estimates` | What does each patient, and each seed, add to a figure's uncertainty? |
| `scales` | On which scale is an interval formed? |
| `intervals` | How sure is a figure, or the difference of two methods? |
| `compare` | Which of two methods is better on the same exams? |
| `power` | How many patients does a comparison need? |
| `significance` | How likely is a difference by chance, and among several? |
| `subgroups` | How well does it go by site, device, operator, BMI, trimester, sweeps present? |
| `age_only` | What does gestational age alone say of a class? |
| `reference` | What can be read off without a network? |
| `aggregate` | What is the value of an exam from those of its clips? |

No file here needs torch.
"""

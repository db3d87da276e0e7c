"""A trained network applied to clips: embeddings, and rows of predictions.

| file | question |
|---|---|
| `forward` | What does a network say of every clip or exam of a split? |
| `prediction_table` | Which columns has `predictions.parquet`, and how is it written and read? |
"""

"""A trained network applied to clips: embeddings, and rows of predictions.

| file | question |
|---|---|
| `forward` | What does a network say of every clip or exam of a split? |
| `intensity_features` | How bright is a clip, where and when? |
| `linear_models` | What can be read off features without a network? |
| `prediction_table` | Which columns has `predictions.parquet`, and how is it written and read? |
"""

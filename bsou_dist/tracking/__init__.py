"""Numbers to memory: runs, their metrics and artifacts, and the table read back from them.

| file | question |
|---|---|
| `tracker` | What does a run tell its memory? |
| `mlflow_tracker` | How is it told to MLflow without holding training up? |
| `delivery` | How does nothing get lost while a server is down? |
| `mlflow_store` | How does MLflow itself take an event, and what runs does it hold? |
| `records` | How does a result become a metric, and a metric a result? |
| `compare` | What has an experiment learnt so far? |
"""

"""ACOUSLIC-AI's folder, a stack of six sweeps per file, made into one table of contract columns.

| file | question |
|---|---|
| `stack_map` | What does a column map say about a folder of stacks? |
| `layout` | How does the table of stacks become a row per sweep? |
"""

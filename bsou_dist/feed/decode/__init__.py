"""From encoded clips to frames.

| file | question |
|---|---|
| `protocol` | What does a decoder take and give? |
| `reference` | What is right? |
| `dali` | What is fast (the one door to NVIDIA DALI)? |
| `make` | Which of them fits a codec and a device? |
"""

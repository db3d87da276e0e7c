"""What every other room needs.

| file | question |
|---|---|
| `bounded_yaml` | How is YAML read that may be hostile, or the wrong file? |
| `csv_cells` | How is a text kept from being a formula in a spreadsheet? |
| `errors` | How is a user told that the input is at fault? |
| `exit_codes` | What does an exit code of `bsou` mean? |
| `files` | How is a file written whole or not at all? |
| `frame_range` | Which frames of a file are a clip, where not all are? |
| `keyed_random` | How are random numbers the same on every rank and after every restart? |
| `progress_mark` | How does a job's script learn that a failed run got on? |
| `settings` | How do YAML and overrides become a checked config? |
| `shown_text` | How is a stranger's text shown in a message? |
| `strict_config` | What do all config models have in common? |
| `sweeps` | What are the six sweeps called, and in which order do they fill the slots of an exam? |
| `worker_pool` | How is work spread over processes that may crash? |
"""

"""Jobs of SLURM: what is asked for, put into the queue, watched, and run there.

| file | question |
|---|---|
| `options` | What may a job ask of SLURM? |
| `plan` | Which jobs are there, and what does each wait for? |
| `pack_jobs` | Which jobs pack a cohort? |
| `run_plan` | What is done with a plan: print it, run it here, submit it, follow it? |
| `local` | How does a plan run without SLURM? |
| `submit` | How do jobs get into the queue? |
| `script` | What does the batch script of a job say? |
| `blocked_signals` | How does a process outlive a signal that comes before it is ready? |
| `job` | What does each task of a job run? |
| `states` | What has become of a job? |
| `follow` | How is that shown while it happens? |
"""

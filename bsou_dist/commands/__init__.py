"""The commands of `bsou`, one file each; `bsou_dist/cli.py` assembles them.

A command has a line of HELP, `add_arguments(parser)` and `run(options)`, which returns the exit
code. Everything that is slow to import is imported in `run`, when there is work; where that work
takes more than a page, it lies in a file beside the command.

| file | question |
|---|---|
| `arguments` | Which options do several commands share, and how is a mistake in them told? |
| `phantom` | How are made-up patients asked for? |
| `write_phantom` | How are they rendered and written to disk? |
| `pack` | How do clips become shards: here, as a share, or as jobs? |
| `freeze` | How is a cohort frozen? |
| `freeze_cohort` | How are its version and its exclusions written? |
| `inspect` | What is in shards, and could it tell who a patient is? |
| `verify` | Are shards still what was packed? |
| `train` | How is a run trained and tested, or only looked through for mistakes? |
| `evaluate` | What are the tables of a run, anew from its predictions? |
| `embed` | How are embeddings asked for? |
| `embed_shards` | What are the embeddings of clips by the encoder of a run? |
| `power` | How many patients does a comparison of two methods need? |
| `resend` | How does a tracking server get what it missed? |
| `compare` | What has an experiment learnt so far? |
| `slurm` | How is all this put into the queue of a cluster? (`launch/slurm.py`) |
"""

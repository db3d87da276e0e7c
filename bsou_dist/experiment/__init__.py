"""A run from its config to its table; the only room that wires stages together.

| file | question |
|---|---|
| `config` | What can a run be told, and what is refused? |
| `run` | What happens in a run, from the first check to the table? |
| `data_config` | Where do a run's clips and labels come from? |
| `join` | Which clips of a shard folder does its cohort table know? |
| `joined_cache` | How does a second start spare itself the join? |
| `mixing` | When can several sources be one corpus? |
| `corpus` | Which clips with which labels and splits does a run have? |
| `methods` | What do the four methods of [P1] put on the encoder in stage 1? |
| `pretrain` | How is an encoder pretrained (stage 1)? |
| `probe` | How good are the embeddings of stage 1, told by their neighbours? |
| `finetune` | How is a task tuned and tested (stage 2)? |
| `stage` | What does training a network mean in either stage? |
| `embeddings` | Where does stage 2 get its encoder, or its embeddings? |
| `intensity` | How bright are the clips, for whom no network looks at them? |
| `context` | What do both stages need at hand? |
| `record` | What does a run leave on record, and what may go on from it? |
| `results` | How do predictions become records, tables and report? |
| `lock` | How is one job at a time kept in a run's folder? |

[P1] is the paper *Improved Representation Learning with Multitasking in Blind Sweep Obstetric
Ultrasound Videos*.
"""

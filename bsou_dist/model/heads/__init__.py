"""What stands on an encoder's embedding.

| file | question |
|---|---|
| `projection` | What does a contrastive stage 1 compare? |
| `exam_join` | How do six sweeps become one row? |
| `hidden` | What do the heads of all kinds of task begin with? |
| `classification` | Which logits, and what is predicted from them? |
| `regression` | Which distribution of a number, in which unit? |
| `make` | Which head belongs to a task? |

[P1] is the paper *Improved Representation Learning with Multitasking in Blind Sweep Obstetric
Ultrasound Videos*.
"""

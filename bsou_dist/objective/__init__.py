"""From embeddings and outputs to one global loss, equal on every rank.

[P1] is the paper *Improved Representation Learning with Multitasking in Blind Sweep Obstetric
Ultrasound Videos*.

| file | question |
|---|---|
| `batch_objectives` | Which loss of a network's outputs and a batch does a training step call? |
| `contrastive` | What is the contrastive loss over all tasks and ranks ([P1] eq. 2 and 3)? |
| `contrastive_reference` | What is right? |
| `fused_tiles` | What is done to a tile of scores in one pass over it? |
| `contrastive_tiled` | How does it do without a matrix of all pairs, forward and backward? |
| `contrastive_plan` | What of it follows from labels alone, and is made ahead on the CPU? |
| `tile_threads` | How do threads of a CPU share it, and always come to the same? |
| `contrastive_positives` | What are the positives of a row, and the sums over them? |
| `contrastive_inputs` | What must ranks agree on before they exchange embeddings? |
| `supervised` | What are the losses of a label or a target ([P1] eq. 1 and section 4.2)? |
| `kinds/` | Which loss belongs to each kind of task in stage 2? |
| `collective` | How are sums and rows of all ranks differentiated? |
"""

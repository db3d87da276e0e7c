"""From a loss to updated weights, on any number of processes, stopped and resumed at any step.

| file | question |
|---|---|
| `trainer` | What happens in an epoch? |
| `step` | What happens in a training step and in a validation pass? |
| `caching` | What if a global batch does not fit into memory at once? |
| `dropout` | What makes dropout the same after a restart? |
| `buffers` | What makes batch-norm statistics the same on all ranks? |
| `checkpoint` | What is saved, how, and what does a run go on from? |
| `saver` | What happens while a checkpoint is written? |
| `broadcast_tensors` | What do the other ranks get of what the first one read? |
| `stopping` | What happens on a signal? |
| `watchdog` | What happens when a rank hangs? |
| `rank_failure` | What happens when a rank fails alone? |
| `flight_recorder` | Which collectives did a rank take part in before it hung? |
| `processes` | Which process is this one, and how does it speak with the others? |
| `vote` | How do ranks decide together without waiting for each other? |
| `protocol` | What must an engine do? |
| `gradient` | What is the norm of a gradient over all ranks? |
| `not_finite` | What happens when a loss or a gradient is not finite? |
| `ddp_engine` | How does plain PyTorch do it? |
| `deepspeed_engine` | How does DeepSpeed do it (the one door to it)? |
| `whole_weights` | How are weights copied that no rank shares? |
| `make` | Which of the two does a config ask for? |
| `speed` | What makes a step faster, smaller or repeatable? |
| `optim/` | What moves the weights, and by how much? |
| `progress` | What does a waiting person see? |
| `health` | Can every node do its part? |
| `rank_times` | Which rank do the others wait for? |
| `profile` | What do CPU and GPU do in a step? |
| `keep_memory` | What keeps a CPU from clearing the same memory again and again? |
"""

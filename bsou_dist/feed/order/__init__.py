"""Orders: the item (a clip or an exam) at every position of every global batch.

An order is a pure function of (seed, epoch, items): ranks, workers and restarts do not enter, and a
position is all there is to resume by. Ranks take slices of a global batch.

| file | question |
|---|---|
| `protocol` | What must an order tell, and which rows of a batch does a rank hold? |
| `in_turn` | How is everything evaluated exactly once? |
| `shuffled` | The usual training order? |
| `windowed` | What if random reads are dear? |
| `balanced` | What if classes are rare? |
| `grouped` | What if clips of one study must come together? |
| `mixed` | What if several sources take their share of every batch? |
| `make` | Which of them does a config ask for? |
"""

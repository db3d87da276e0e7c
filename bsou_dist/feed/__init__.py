"""From the bytes in shards to the tensors of a training step.

| file | question |
|---|---|
| `dataset` | What items are there, clips or exams, and what is known of them? |
| `order/` | Which item stands at which position of which batch? |
| `decode/` | How do encoded clips become frames? |
| `augment` | How do frames become the network's input? |
| `pixels` | How does a clip come out of its shard, decoded and augmented? |
| `embedded` | What if clips were embedded beforehand? |
| `loader` | How are batches made ahead of the training step? |
| `reader_pool` | How are clips read while others are decoded? |
| `batch` | What does a training step get? |
| `filled_slots` | Which slots of a batch hold a clip? |
| `global_rows` | What does a rank know of the other ranks' rows? |
| `protocol` | What does a training loop ask of a feed, and a feed of a source of clips? |
| `quarantine` | Where do clips go that cannot be decoded, and how many may there be? |
| `side_stream` | How does a GPU make batches while it trains? |
"""

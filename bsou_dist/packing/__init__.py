"""From a cohort to a folder of shards: planned, packed in shares, checked and merged.

| file | question |
|---|---|
| `pack` | How does a cohort become shards, from its table to the finished folder? Begin here. |
| `cohort_source` | Which files is the cohort read from, and are they those of an earlier plan? |
| `word_codes` | What stands for sites and devices? |
| `plan` | Which clip gets which key and which shard? |
| `estimate` | How much time and disk will packing take? |
| `pack_shards` | How are clips encoded, written, recorded and, where lost, tried again? |
| `encode_clip` | How does a clip's file become the bytes at rest, or a reason to reject it? |
| `reject_limit` | When are so many clips rejected that packing should stop? |
| `progress` | How does whoever waits see how far it is? |
| `shard_record` | What does a finished shard hold, and is it still whole? |
| `folder` | How far is a shard folder (not begun, begun, finished), and who may write into it? |
| `private_folder` | What must not be given away with the shards, and where does it lie? |
| `outcome` | What became of each clip of a cohort, for whoever holds the private folder? |
"""

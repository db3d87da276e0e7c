"""The format of packed clips: tar files that any WebDataset reader opens, and their manifest.

| file | question |
|---|---|
| `jpeg_header` | How large does a JPEG picture claim to be? |
| `codec` | How do frames become bytes, and which frames do bytes hold? |
| `clip_record` | Is what a clip's record claims possible? |
| `shard_file` | How is a shard written, with its index, the same bytes for the same clips? |
| `manifest` | What does a shard folder hold, and where in it is a clip? |
| `open_shards` | How do shards stay open, however many there are? |
| `patience` | What if storage fails for a while? |
| `reader` | How are clips read while training, many at once? |
| `pseudonyms` | What stands for patients, studies, exams and clips, and who can join labels? |
"""

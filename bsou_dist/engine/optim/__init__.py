"""What moves the weights, and by how much: the `optim` block of a stage.

| file | question |
|---|---|
| `config` | What can a stage ask for? |
"""

"""What moves the weights, and by how much: the `optim` block of a stage.

| file | question |
|---|---|
| `config` | What can a stage ask for? |
| `make` | Which optimizer is that? |
| `timm_optimizers` | How does timm do LARS and LAMB (the one door to its optimizers)? |
| `groups` | Which parameters have a rate or a weight decay of their own? |
| `layers` | What are the layers of an encoder? |
| `schedule` | How does the learning rate move? |
| `freezing` | What is not trained, and until when? |
| `moving_average` | What of an average of the weights over steps? |
| `moments` | What does an optimizer remember of a parameter? |
"""

"""From clips to embeddings, and from embeddings to what is predicted.

| file | question |
|---|---|
| `encoder` | Which network makes a feature map and an embedding of a clip? |
| `encoders/` | Which networks are there, and what must one's own keep to? |
| `weight_file` | What of a file of weights fits an encoder, and what does not? |
| `norm` | Which norm layers, and what does each mean for a batch that is cut over processes? |
| `heads/` | What stands on an embedding? |
| `network` | What is trained in each stage: which encoder with which heads? |

[P1] is the paper *Improved Representation Learning with Multitasking in Blind Sweep Obstetric
Ultrasound Videos*.
"""

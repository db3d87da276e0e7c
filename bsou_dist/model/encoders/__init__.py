"""The networks that `encoder.name` may ask for, each as a `Backbone`.

| file | question |
|---|---|
| `backbone` | What does every kind of encoder give? |
| `torchvision_video` | How does a video model of torchvision make a feature map? |
| `small_resnet` | What trains in minutes on a CPU? |
| `video_vit` | What is a plain transformer over tubes of a clip? |
| `timm_frames` | How does an image model of timm read a clip frame by frame? |
| `temporal_pool` | How do the embeddings of frames become that of a clip? |
| `own_factory` | What must an encoder of one's own keep to? |
| `no_rows` | What of an encoder that cannot take an empty batch? |
"""

"""Frames as a file holds them to the fan alone, in grey, on a known physical scale.

| file | question |
|---|---|
| `prepare_clip` | How does a raw clip become one to train on, and when is it rejected? |
| `fan` | Which pixels show tissue, and which the rest of the screen? |
| `bright_print` | Which bright things lie apart from the tissue, as print does? |
| `doppler` | How much of the fan has a colour of its own? |
"""

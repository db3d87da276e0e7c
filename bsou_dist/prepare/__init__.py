"""Frames as a file holds them to the fan alone, in grey, on a known physical scale.

| file | question |
|---|---|
| `prepare_clip` | How does a raw clip become one to train on, and when is it rejected? |
| `odd_frames` | Which frames show another screen than the rest of the clip? |
| `fan` | Which pixels show tissue, and which the rest of the screen? |
| `noise` | Does noise fill the picture around the fan, and how much? |
| `changing_print` | Which of what keeps changing is print that blinks, scrolls or counts? |
| `hollow` | Which part of the fan's hull lies above a curved probe's face? |
| `glyphs` | What is print by proof, wherever it stands? |
| `doppler` | How much of the fan has a colour of its own? |
"""

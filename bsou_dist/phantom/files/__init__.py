"""Clips as the files that a scanner or a clinic leaves behind.

| file | question |
|---|---|
| `cohort_files` | How does a cohort become one file per clip and a table? |
| `dicom` | What does a scanner's DICOM file hold? |
| `meta_image` | What does a stack of frames as MetaImage hold? |
| `screen` | What surrounds the picture on a scanner's screen? |
"""

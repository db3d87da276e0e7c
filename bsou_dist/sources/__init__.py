"""A clinic's file to frames as its screen showed them, with the scale that the file states.

| file | question |
|---|---|
| `read_clip` | What kind of file is this, by its content, and who reads it? |
| `dicom` | How are multi-frame DICOM files read? |
| `dicom_frames` | How many frames does one hold that does not say so? |
| `dicom_scale` | Which region of them is the picture, and how large are its pixels? |
| `dicom_jpeg` | How is the JPEG in most of them decoded ten times as fast? |
| `video` | How are MP4, MOV, AVI and MKV shown as a player would? |
| `video_luma` | When is a video's brightness all that it shows? |
| `volume` | How are MetaImage and NRRD sequences read? |
| `meta_image` | What does a MetaImage's header say? |
| `nrrd_header` | What does an NRRD's header say? |
| `stack_header` | How do a stack's pixels lie in its file, and which axis is which? |
| `orientation` | Which way up does a tracked sequence store its frames? |
| `stack_pixels` | How is every pixel of a stack proven to come out of its file? |
| `npz` | How are NumPy archives read a frame at a time? |
| `grey_levels` | What grey do numbers of 12 or 16 bits, or fractions, become? |
| `raw_clip` | What does a file hold before preparation, and what do its readers share? |
| `bounded_file` | How does a damaged length take no memory? |
"""

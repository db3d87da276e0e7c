"""A clinic's file to frames as its screen showed them, with the scale that the file states.

| file | question |
|---|---|
| `read_clip` | What kind of file is this, by its content, and who reads it? |
| `dicom` | How are multi-frame DICOM files read? |
| `dicom_frames` | Where is each of their frames, and how many are there? |
| `dicom_regions` | Which part of a frame is the B-mode picture? |
| `dicom_scale` | How large are its pixels, and which statement of it counts? |
| `dicom_orientation` | When does a header say that frames lie another way than they do? |
| `dicom_jpeg` | How is the JPEG in most of them decoded ten times as fast, in its own colours? |
| `dicom_palette` | Which colours does a palette hold, in either byte order? |
| `dicom_subsampled` | How are uncompressed pixels read that share their chroma? |
| `video` | How are MP4, MOV, AVI, MKV and animated GIF shown as a player would? |
| `avi_chunks` | How many frames of an AVI are empty, and so none? |
| `video_luma` | When is a video's brightness all that it shows? |
| `volume` | How are MetaImage and NRRD sequences read? |
| `meta_image` | What does a MetaImage's header say? |
| `nrrd_header` | What does an NRRD's header say? |
| `stack_header` | How do a stack's pixels lie in its file, and which axis is which? |
| `orientation` | Which way up does a tracked sequence store its frames? |
| `stack_pixels` | How is every pixel of a stack proven to come out of its file? |
| `npz` | How are NumPy archives read a frame at a time? |
| `images` | How do the numbered images of a folder become a clip? |
| `grey_levels` | What grey do numbers of 12 or 16 bits, or fractions, become? |
| `raw_clip` | What does a file hold before preparation, and what do its readers share? |
| `stated_spacing` | When do two statements of a pixel's size disagree? |
| `bounded_file` | How does a damaged length take no memory? |
"""

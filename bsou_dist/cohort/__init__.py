"""Cohorts: any source of clips and labels read into one checked table, a row per clip.

| file | question |
|---|---|
| `table` | How is a cohort read, cleaned and checked as a whole? |
| `columns` | What does each column hold, in which unit, and what is accepted? |
| `raw_cohort` | What does a reader hand over, before labels are cleaned and checked? |
| `text_table` | How does a CSV, Parquet or Excel file become cells of text with line numbers? |
| `column_map` | How do a foreign table's columns, codes and units become ours? |
| `maps/` | Which layouts can be read without a map of one's own? |
| `famli/` | How do the several tables of a FAMLI layout become one? |
| `acouslic/` | How does the folder of ACOUSLIC-AI become one, six clips to a stack? |
| `validate` | Which cells can't be right? |
| `frame_ranges` | Which clips are parts of a file, and what tells them apart? |
| `bad_cells` | How are all of them named in one error? |
| `exclusions` | How many patients, studies, exams and clips does each exclusion leave? |
| `splits` | Which patients train, validate and test? |
| `labels` | Which numbers does a task train on? |
"""

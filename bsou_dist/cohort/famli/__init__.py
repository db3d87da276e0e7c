"""FAMLI's layouts of several tables, made into one table of contract columns.

| file | question |
|---|---|
| `layout` | How do the tables become one cohort, and which clips are left out? |
| `table_roles` | Which fields can a table hold, by the role it plays? |
| `tables` | How is the table of a role found and read, and what is wrong with it? |
| `exams` | Which exam is a clip of, where is its file, who recorded it, when and with what? |
| `found_folders` | Where is the file of a clip whose folder no table names? |
| `tags` | Which sweep and which class of clip does a tag name? |
| `devices` | Which maker and model does a spelling stand for? |
| `corrections` | Which tags were corrected, and what is the spacing of a video? |
| `forms` | Which form is a visit's, and what do forms say in ways of their own? |
| `dates` | Which day does a written date mean? |
| `reports` | Which measurements do the scanners' structured reports hold? |
| `dating` | How old is the pregnancy, and who says so? |
| `pregnancies` | Which visits of a patient are of one pregnancy? |
| `fetuses` | How many fetuses are there? |
"""

"""From numbers to pages.

| file | question |
|---|---|
| `method_table` | How do methods compare, task by task? |
| `detail_table` | What is found of a rare class, and how near are numbers? |
| `recorded` | Which records stand behind a row of a table? |
| `html_report` | What does one page say of a run? |
| `kinds/` | How are a kind's figures written, and what is drawn? |
| `plots` | What do a confusion matrix, a calibration curve and an agreement plot look like? |
| `subgroup_section` | How well does it go in each subgroup of patients? |
| `forest_plot` | What do figures by subgroup look like? |
| `pictures` | How does a picture stand in a page? |
| `checklists` | Which items of the reporting checklists are answered where? |
| `exclusion_plot` | Who was left out of a cohort, and at which step? |
| `report.css` | What does the page look like? |
"""

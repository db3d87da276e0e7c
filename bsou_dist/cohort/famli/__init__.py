"""FAMLI's layouts of several tables, made into one table of contract columns."""

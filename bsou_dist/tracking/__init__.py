"""Numbers to memory: runs, their metrics and artifacts, and the table read back from them."""

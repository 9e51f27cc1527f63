"""Units of work that are kept: every system on every fold, resumable."""

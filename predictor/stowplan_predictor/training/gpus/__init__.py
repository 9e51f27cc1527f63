"""The GPU bundle: public kernel measurements read, models fitted and judged on GPUs they never saw, and the bundle and its page written."""

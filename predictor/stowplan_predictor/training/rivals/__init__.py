"""Rivals: other ways to predict the latency of a whole network, each fitted and judged on the same folds (`make rivals`)."""

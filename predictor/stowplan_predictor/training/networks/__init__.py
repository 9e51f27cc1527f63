"""From kernels to networks: dispatch, corrections, intervals, novelty, and the choice of what is served."""

"""Training and writing the bundle that is served."""

"""Kubernetes objects as kubectl prints them: of a live cluster or in files, what of them goes into a snapshot, and the model files they name."""

"""Neighbours and load: co-location and response fits."""

"""Measuring campaigns: what is measured in which order, chunk by chunk, and made into a data set. `python -m stowplan_predictor.training.campaigns`."""

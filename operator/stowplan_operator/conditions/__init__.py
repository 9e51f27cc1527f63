"""Conditions: what holds of a service, why, and since when."""

"""Workloads: the Deployment of a service on a rung, made from the user's template."""

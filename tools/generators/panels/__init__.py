"""Panels of the Grafana dashboards: what they show and how they are written down."""

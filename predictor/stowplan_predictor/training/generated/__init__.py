"""Graphs that are drawn, not exported: random networks by kind and seed, and graphs of a single kernel."""

"""Adapting a bundle to another machine."""

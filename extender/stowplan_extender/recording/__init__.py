"""Decisions written down with all that they rest on (`recordings`), the latest ones kept in a folder (`recorders`)."""

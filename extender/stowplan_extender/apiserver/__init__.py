"""The API server: a connection to it, one list and an endless watch of a collection, calls about single pods."""

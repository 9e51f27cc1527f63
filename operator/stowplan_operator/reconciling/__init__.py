"""Reconciling: from what is to what shall be, again and again, for each InferenceService by itself.

Level-based: an event only says "look again"; what is done follows from the state that is seen then. kopf lists and watches (`watches`) and keeps the
views; a queue of our own (`queues`) decides who is looked at when. kopf's daemons and timers are not used, because they put a finalizer on every object,
and an uninstall would leave objects that nobody can delete.
"""

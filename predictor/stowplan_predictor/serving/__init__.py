"""The predictor as a process: `settings`, `pools` (bounded work), `servicers` (the RPCs), `servers` (health, life and death), `local` (no process at all).

Model files are read by processes of their own: `readers` (this side), `reading` (that side), `frames` (between them), `uploads` (files out of requests).

It keeps no state that matters: graphs and answers are cached by content, and a restarted predictor is given its graphs again.
"""

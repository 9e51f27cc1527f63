"""The predictor as a process: `settings`, `pools` (bounded work), `servicers` (the RPCs), `servers` (health, life and death), `local` (no process at all).

It keeps no state that matters: graphs and answers are cached by content, and a restarted predictor is given its graphs again.
"""

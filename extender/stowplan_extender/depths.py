"""Depths: how deep an object may nest before this process refuses to read it.

A list's or an event's envelope must be skipped through whole to find where each item ends, so one deep item would make its whole page
unreadable. Whatever an API server can have stored must therefore be within reach, and then touches no other object.
"""

import sys
import threading
from typing import Final

# Go's encoding/json (scanner.go, maxNestingDepth) and sigs.k8s.io/json read 10,000 levels; the rest is for envelopes and for our own calls.
# msgspec counts its levels against this limit and takes C stack for each; tests show that a main thread's usual 8 MiB suffice.
LEVELS: Final = 12_000
# Other threads get what they are given, down to 128 KiB with musl. Reserved, not used: memory is taken only where somebody nests so deep.
_THREAD_STACK_BYTES: Final = 16 << 20


def allow() -> None:
    """Lets this interpreter read what an API server can store, in the main thread and in every thread that is started after this."""
    threading.stack_size(_THREAD_STACK_BYTES)
    sys.setrecursionlimit(max(LEVELS, sys.getrecursionlimit()))

"""Depths: how deep an object may nest before this process refuses to read it.

A list's or an event's envelope must be skipped through whole to find where each item ends, so one deep item would make its whole page
unreadable. Whatever an API server can have stored must therefore be within reach, and then touches no other object.
"""

import sys
from typing import Final

# Go's encoding/json (scanner.go, maxNestingDepth) and sigs.k8s.io/json read 10,000 levels; the rest is for envelopes and for our own calls.
# msgspec counts its levels against this limit and takes C stack for each; tests show that a main thread's usual 8 MiB suffice.
LEVELS: Final = 12_000


def allow() -> None:
    """Lets this interpreter read what an API server can store. For the main thread: others have smaller stacks where they set them."""
    sys.setrecursionlimit(max(LEVELS, sys.getrecursionlimit()))

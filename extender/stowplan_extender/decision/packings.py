"""How well a node is packed: full nodes first, so that whole ones stay free for what needs them."""

from typing import Final

from stowplan_extender.decision.occupancies import Newcomer
from stowplan_extender.decision.signatures import Signature

# MaxExtenderPriority (k8s.io/kube-scheduler/extender/v1). The scheduler reads an int64; a float would lose all scores without a word.
MAX_SCORE: Final = 10


def score(newcomer: Newcomer, signature: Signature) -> int:
    """The share of what the slice is cut from that is taken once the newcomer is there, in tenths, rounded down."""
    room = signature.room(newcomer.tenancy.slice_class)
    if room is not None:
        total, left = room.count, room.left - newcomer.requests.count(room.resource)
    else:
        total, left = signature.cpu_millicores, signature.cpu_left_millicores - newcomer.requests.cpu_millicores
    if total <= 0:
        return 0
    return max(0, min(MAX_SCORE, MAX_SCORE * (total - left) // total))

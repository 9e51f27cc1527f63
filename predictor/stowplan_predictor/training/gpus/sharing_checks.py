"""The sharing laws held against the one public table that has all three ways of sharing a GPU.

Mean seconds of one inference of YOLOS-small by 1, 3, 5 and 7 pods that always run, on one A100 of 80 GB: nebuly-ai/nos, demos/gpu-sharing-comparison/README.md
at 14a194e2 (Apache-2.0). MIG: one instance of 1g.10gb each; MPS without a limit of threads.
"""

from dataclasses import dataclass
from typing import Final

from stowplan_fleet.gpus.catalogue import find
from stowplan_fleet.slices import SliceKind

from stowplan_predictor.gpus.sharings import Client, slowdown

SOURCE: Final = "https://github.com/nebuly-ai/nos/tree/14a194e24ef048e4d3daca4ad2f9e7fe4f38bb02/demos/gpu-sharing-comparison"
CLIENTS: Final = (1, 3, 5, 7)
SECONDS: Final = {
    SliceKind.TIME: (0.0882, 0.2931, 0.4890, 0.6849),
    SliceKind.MPS: (0.0880, 0.1640, 0.2409, 0.3198),
    SliceKind.MIG: (0.3424, 0.3413, 0.3453, 0.3442),
}
_PRODUCT: Final = "NVIDIA-A100-SXM4-80GB"
_PROFILE: Final = "1g.10gb"


@dataclass(frozen=True, slots=True)
class Check:
    """A published number of seconds and what the law says."""

    kind: SliceKind
    clients: int
    measured_s: float
    predicted_s: float

    @property
    def error_percent(self) -> float:
        """Of the prediction."""
        return 100.0 * (self.predicted_s / self.measured_s - 1.0)


def held_share() -> float:
    """How much of the GPU one client holds, as the table itself tells: on an instance, which it surely fills, it takes so many multiprocessors so long."""
    gpu = find(_PRODUCT)
    profile = gpu.profile(_PROFILE) if gpu else None
    if gpu is None or profile is None or profile.multiprocessors is None:
        raise LookupError(f"{_PRODUCT} with {_PROFILE} is not in the catalogue")
    alone, instance = SECONDS[SliceKind.MPS][0], SECONDS[SliceKind.MIG][0]
    return instance * profile.multiprocessors / (alone * gpu.multiprocessors)


def checks() -> list[Check]:
    """Every number of the table but those of one client, which the laws start from."""
    found = []
    for kind, seconds in SECONDS.items():
        # Always running: a rate that no server could keep up with.
        client = Client(1000.0 * seconds[0], 1e6, held_share(), held_share())
        for count, measured in zip(CLIENTS[1:], seconds[1:], strict=True):
            found.append(Check(kind, count, measured, seconds[0] * slowdown(kind, client, [client] * (count - 1)).median))
    return found

"""MIG layouts: which instances fit on one GPU together.

A layout is legal exactly where its instances can be placed without overlap on the memory slices, each at a start its profile allows (NVML: creation fails
where a placement overlaps an occupied one). On the tables of the catalogue this also keeps compute slices within the GPU.
"""

from collections.abc import Sequence

from stowplan_fleet.gpus.catalogue import Gpu, MigProfile


def fits(gpu: Gpu, profiles: Sequence[str]) -> bool:
    """Whether one GPU can hold those instances at once, placed in the best order."""
    if gpu.mig is None:
        return not profiles
    found = [gpu.profile(name) for name in profiles]
    wanted = [item for item in found if item is not None]
    if len(wanted) < len(found) or any(len([other for other in wanted if other is item]) > item.max_instances for item in wanted):
        return False
    # Media engines exist once: one instance with them at most, of whatever size.
    if sum(name.endswith(".me") for name in profiles) > 1:
        return False
    return _placed(sorted(wanted, key=lambda item: -item.memory_slices), frozenset())


def _placed(wanted: Sequence[MigProfile], occupied: frozenset[int]) -> bool:
    if not wanted:
        return True
    first, rest = wanted[0], wanted[1:]
    for start in first.starts:
        place = frozenset(range(start, start + first.memory_slices))
        if not place & occupied and _placed(rest, occupied | place):
            return True
    return False

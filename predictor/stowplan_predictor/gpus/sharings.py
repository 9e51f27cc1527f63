"""Sharing: what tenants of one GPU do to each other, by published laws that nobody checked on the device (`unvalidated`).

* MIG instances and whole GPUs: nothing. An instance has multiprocessors, memory slices and cache of its own (NVIDIA MIG user guide, "Concepts"); power and
  PCIe, which they do share, are left out.
* Time slicing: turns of equal length among those that have work, so that n of them take n times as long each: processor sharing (Kleinrock, "Time-shared
  systems: a theoretical treatment", Journal of the ACM 14(2), 1967).
* MPS: kernels of several clients run at once until a resource is full; from there on everybody is slowed by how far it is asked for beyond what there is: the
  asymptotic bound of a closed system, response >= max(D, N x Dmax) (Denning and Buzen, "The operational analysis of queueing network models", ACM Computing
  Surveys 10(3), 1978), with multiprocessors and bandwidth as the resources. The upper end of the interval is the law of time slicing: MPS is never taken for
  worse than taking turns.

A tenant counts for the share of the time that its load keeps it busy, slowed as it is by the others: a fixed point, reached from below.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from stowplan_fleet.slices import SliceKind

# Fixed points of up to a few dozen tenants settle to three digits well before this.
_TURNS: Final = 100
_SETTLED: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Client:
    """Someone on a GPU."""

    alone_ms: float
    """One request, alone on its slice."""
    requests_per_second: float
    computing: float
    """Share of the GPU's multiprocessors that it holds while it runs."""
    traffic: float
    """Share of the GPU's bandwidth that it takes while it runs."""

    @property
    def weight(self) -> float:
        """How much of the GPU it takes over time: heaviest first."""
        return min(1.0, self.requests_per_second * self.alone_ms / 1000.0) * max(self.computing, self.traffic)


# From a client and the others with the share of the time that each is busy to how much slower it is.
Law = Callable[[Client, Sequence[tuple[Client, float]]], float]

STRANGER: Final = Client(alone_ms=1.0, requests_per_second=float("inf"), computing=1.0, traffic=1.0)
"""One of which nothing is known: it always runs, and takes everything."""


@dataclass(frozen=True, slots=True)
class Slowdown:
    """Factors on a subject's service time, 1 or more."""

    median: float
    upper: float


def heaviest(tenants: Sequence[Client], at_once: int | None) -> list[Client]:
    """As many of the tenants as can be on one GPU, the heaviest: nobody knows which the kubelet puts there."""
    return sorted(tenants, key=lambda client: -client.weight)[: len(tenants) if at_once is None else max(0, at_once)]


def slowdown(kind: SliceKind, subject: Client, tenants: Sequence[Client]) -> Slowdown:
    """What those tenants do to a subject on slices of that kind."""
    if kind not in (SliceKind.MPS, SliceKind.TIME) or not tenants:
        return Slowdown(1.0, 1.0)
    turns = _settled(subject, tenants, _by_turns)
    if kind is SliceKind.TIME:
        return Slowdown(turns, turns)
    full = _settled(subject, tenants, _by_resources)
    return Slowdown(min(full, turns), turns)


def _by_turns(client: Client, others: Sequence[tuple[Client, float]]) -> float:
    del client
    return 1.0 + sum(busy for _, busy in others)


def _by_resources(client: Client, others: Sequence[tuple[Client, float]]) -> float:
    computing = client.computing + sum(busy * other.computing for other, busy in others)
    traffic = client.traffic + sum(busy * other.traffic for other, busy in others)
    return max(1.0, computing, traffic)


def _busy(client: Client, slower: float) -> float:
    return min(1.0, client.requests_per_second * client.alone_ms * slower / 1000.0)


def _settled(subject: Client, tenants: Sequence[Client], law: Law) -> float:
    everyone = [subject, *tenants]
    slower = [1.0] * len(everyone)
    for _ in range(_TURNS):
        busy = [_busy(client, factor) for client, factor in zip(everyone, slower, strict=True)]
        fresh = [
            law(client, [(other, busy[place]) for place, other in enumerate(everyone) if place != index]) for index, client in enumerate(everyone)
        ]  # fmt: skip
        moved = max(abs(new - old) for new, old in zip(fresh, slower, strict=True))
        slower = fresh
        if moved < _SETTLED:
            break
    return slower[0]

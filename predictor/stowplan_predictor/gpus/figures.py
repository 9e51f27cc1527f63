"""Figures: what a GPU really reaches of its published peaks, measured where it was measured, and by rule where it was not.

Three kinds: what launching a kernel costs, the share of the memory's peak that long element-wise kernels reach, and the share of the arithmetic peak that long
products sustain. The last one ends where power does: a T4 at 70 W never holds the clock that its peak is quoted at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from stowplan_predictor.gpus.machines import Machine
from stowplan_predictor.gpus.tasks import KINDS, PRODUCTS

# Operations for a joule relative to Pascal, by generation. Volta and Turing are made in a process that takes a quarter less power at the same clock than
# Pascal's (TSMC on 12FFC against 16FFC; Anandtech, "Samsung and TSMC roadmaps", 2017). Half as many again for each generation after them is our assumption.
_FIRST_STEP: Final = 1 / 0.75
_STEP: Final = 1.5
_GENERATIONS: Final = {6: 0, 7: 1, 8: 2, 9: 3, 10: 4}
# Below this share of the power that the unthrottled ones have for an operation, a GPU counts as limited by it.
_LIMITED: Final = 0.75


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one GPU."""

    launch_ms: Mapping[str, float]
    """By kind: what the least kernel takes, its launch and the timing included."""
    stream: float
    """Bandwidth that long element-wise kernels reach, over the peak."""
    compute: Mapping[str, float]
    """By family of products: rate that long ones sustain, over the peak."""
    tile: Mapping[str, tuple[int, int]]
    """By family of products: rows and columns of the result that one block of threads computes, where most kernels of the family run so."""


@dataclass(frozen=True, slots=True)
class MeasuredGpu:
    """A GPU model with its figures."""

    product: str
    """As the catalogue names it."""
    figures: Figures


def efficiency_of(machine: Machine) -> float:
    """Operations for a joule relative to Pascal."""
    major, minor = machine.generation
    # Ada (8.9) is made two steps after Ampere's 8.0: the process of Hopper.
    step = _GENERATIONS.get(major, _GENERATIONS[10]) + (1 if (major, minor) == (8, 9) else 0)
    return float(_FIRST_STEP * _STEP ** (step - 1)) if step else 1.0


def headroom(machine: Machine) -> float:
    """Watts for a peak TFLOP/s, in Pascal's watts."""
    return machine.watts / (machine.peak_flops_per_second / 1e12) * efficiency_of(machine)


def figures_of(machine: Machine, known: Sequence[tuple[Machine, Figures]]) -> Figures:
    """Figures of a GPU that nobody measured, from those of others.

    Launching: what is off by the least percentage from all of the others (it is the host's more than the GPU's). Streaming: that of others with memory of the
    same kind (stacks since Volta, or not: Pascal's stacks reach no more than graphics memory does). Computing: the mean of those that power does not limit,
    but no more than power allows.
    """
    launches = {kind: nearest_to_all([figures.launch_ms[kind] for _, figures in known]) for kind in KINDS}
    kin = [figures.stream for other, figures in known if _memory(other) == _memory(machine)]
    everyone = [figures.stream for _, figures in known]
    return Figures(
        launch_ms=launches,
        stream=float(np.mean(kin or everyone)),
        compute={family: _compute(machine, known, family) for family in PRODUCTS},
        tile={family: _tile(machine, known, family) for family in PRODUCTS},
    )


def nearest_to_all(values: Sequence[float]) -> float:
    """That of some values with the least sum of |value - other| / other: their median weighted by 1 / value."""
    return min(sorted(values), key=lambda value: sum(abs(value - other) / other for other in values))


def _memory(machine: Machine) -> bool:
    return machine.stacked_memory and machine.generation >= (7, 0)


def _compute(machine: Machine, known: Sequence[tuple[Machine, Figures]], family: str) -> float:
    most = max(headroom(other) for other, _ in known)
    free = [figures.compute[family] for other, figures in known if headroom(other) >= _LIMITED * most]
    limited = [(figures.compute[family] / headroom(other)) for other, figures in known if headroom(other) < _LIMITED * most]
    unthrottled = float(np.mean(free))
    if not limited:
        # Nobody was limited: nothing is known of where power ends.
        return unthrottled
    return min(unthrottled, float(np.mean(limited)) * headroom(machine))


def _tile(machine: Machine, known: Sequence[tuple[Machine, Figures]], family: str) -> tuple[int, int]:
    """Of the GPU that is nearest in generation."""
    nearest = min(known, key=lambda item: (abs(item[0].generation[0] - machine.generation[0]), -item[0].multiprocessors))
    return nearest[1].tile[family]

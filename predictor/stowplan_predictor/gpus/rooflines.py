"""The least time physics allows a task on a slice of a GPU, its launch included.

Arithmetic and memory as in Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009. Beyond them: a multiprocessor computes whole tiles of a product, so
that the last wave of tiles may leave most of them idle (NVIDIA, "Matrix multiplication background", section "Wave quantization"); a multiprocessor moves 64
bytes a clock at most (NVIDIA, "CUDA C programming guide"; Jia et al., "Dissecting the NVIDIA Volta GPU architecture via microbenchmarking", 2018); what fits
into the L2 cache comes from there. Every part is monotone: more multiprocessors, more bandwidth or more cache never take longer.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.gpus.figures import Figures
from stowplan_predictor.gpus.machines import Machine
from stowplan_predictor.gpus.tasks import CONVOLUTION, KINDS, POINTWISE, PRODUCTS, Matrix, Tasks

_BYTES_A_CLOCK: Final = 64.0
# How much faster than memory the L2 cache is at least: it is 1.4 times on a V100 (2155 of 1529 GB/s counted alike) and more elsewhere (Jia et al., 2018).
_L2_FASTER: Final = 1.4
# Elements that a block of threads of an element-wise kernel works on: 128 threads, 4 elements each (PyTorch, `vectorized_elementwise_kernel<4>`).
_ELEMENTS_A_BLOCK: Final = 512.0
# An unmeasured operator is launched like the least of the element-wise ones.
_LIKE: Final = "mulu"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of some tasks, in milliseconds."""

    launch: Matrix
    compute: Matrix
    """Smooth: as if tiles could be split."""
    waves: Matrix
    """In whole tiles and waves; `compute` where there are no tiles."""
    memory: Matrix

    @property
    def smooth_ms(self) -> Matrix:
        """Launch and the longer of the other two: what learned efficiencies are relative to on a whole GPU."""
        return self.launch + np.maximum(self.compute, self.memory)

    @property
    def whole_waves_ms(self) -> Matrix:
        """The same in whole waves: what slices of one GPU are compared by."""
        return self.launch + np.maximum(self.waves, self.memory)

    def part(self, rows: NDArray[np.int64]) -> "Bounds":
        """Of some of the tasks."""
        return Bounds(self.launch[rows], self.compute[rows], self.waves[rows], self.memory[rows])


def launch_ms(tasks: Tasks, figures: Figures) -> Matrix:
    """What the least kernel of each task's kind takes."""
    return np.array([figures.launch_ms[kind if kind in KINDS else _LIKE] for kind in tasks.kinds], dtype=np.float64)


def tiles(tasks: Tasks, tile: tuple[int, int]) -> Matrix:
    """Blocks of threads of a product cut into such tiles: columns and rows of the result, as cuBLAS names its kernels (cuDNN the other way round)."""
    columns, rows = tile
    return np.asarray(tasks.column("batch") * np.ceil(tasks.column("m") / rows) * np.ceil(tasks.column("n") / columns))


def _compute(tasks: Tasks, machine: Machine, figures: Figures) -> tuple[Matrix, Matrix]:
    smooth = 1e3 * tasks.column("flops") / machine.flops_per_second
    waves = smooth.copy()
    for family in PRODUCTS:
        rows = tasks.of(family)
        if not len(rows):
            continue
        share, (high, wide) = figures.compute[family], figures.tile[family]
        smooth[rows] /= share
        # A tile takes one multiprocessor as long as its multiply-adds at the sustained rate.
        rate = machine.flops_per_second / machine.multiprocessors * share
        one = 1e3 * 2.0 * high * wide * tasks.column("k")[rows] / rate
        tile = (wide, high) if family == CONVOLUTION else (high, wide)
        waves[rows] = np.ceil(tiles(tasks.part(rows), tile) / machine.multiprocessors) * one
    return smooth, waves


def _memory(tasks: Tasks, machine: Machine, figures: Figures) -> Matrix:
    traffic = tasks.column("bytes")
    blocks = np.full(len(traffic), np.inf)
    light = tasks.of(POINTWISE)
    blocks[light] = np.ceil(tasks.column("m")[light] * tasks.column("n")[light] / _ELEMENTS_A_BLOCK)
    reach = np.minimum(blocks, machine.multiprocessors) * _BYTES_A_CLOCK * machine.clock_hz
    resident = np.minimum(1.0, machine.l2_bytes / np.maximum(traffic, 1.0))
    slowest = traffic * (resident / _L2_FASTER + 1.0 - resident) / (machine.bandwidth_bytes_per_second * figures.stream)
    return np.asarray(1e3 * np.maximum(slowest, traffic / reach))


def bounds(tasks: Tasks, machine: Machine, figures: Figures) -> Bounds:
    """Of tasks on a GPU or a slice of it, given what the GPU reaches of its peaks."""
    smooth, waves = _compute(tasks, machine, figures)
    return Bounds(launch_ms(tasks, figures), smooth, waves, _memory(tasks, machine, figures))

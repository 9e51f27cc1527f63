"""Features of tasks on a whole GPU that carry over to GPUs nobody measured: ratios, waves and remainders, never the GPU's name or raw size.

The library of kernels is told by its generation: cuBLAS and cuDNN call them `maxwell_` on Pascal, `volta_` on Volta and Turing, `ampere_` from there on.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.gpus.figures import Figures
from stowplan_predictor.gpus.machines import Machine
from stowplan_predictor.gpus.rooflines import bounds, tiles
from stowplan_predictor.gpus.tasks import BYTES, KINDS, Matrix, Tasks

# Tiles that the libraries' single-precision kernels are named after.
_TILES: Final = ((128, 128), (128, 64), (64, 64), (32, 128), (128, 32), (32, 32))
LIBRARIES: Final = ("maxwell", "volta", "ampere")
CODES: Final = {kind: code for code, kind in enumerate((*KINDS, BYTES))}
_ELEMENTS_A_BLOCK: Final = 512.0
_NAMES: Final = ("log_batch", "log_m", "log_n", "log_k", "log_width", "log_intensity", "log_compute_over_memory", "log_bound_over_launch", "log_bytes_over_l2",
                 "aligned_m", "aligned_n", "aligned_k", "log_m_over_power", "log_n_over_power", "log_blocks_per_sm", "block_waste", "log_rows_per_sm",
                 "half_window_waste", "quarter_window_waste")  # fmt: skip
FEATURES: Final = (
    *_NAMES,
    *(f"log_waves_{high}x{wide}" for high, wide in _TILES),
    *(f"log_waste_{high}x{wide}" for high, wide in _TILES),
    *(f"log_padding_{high}x{wide}" for high, wide in _TILES),
    *(f"library_{name}" for name in LIBRARIES),
)


def library(machine: Machine) -> str:
    """Which kernels run there."""
    major = machine.generation[0]
    return LIBRARIES[0] if major < 7 else LIBRARIES[1] if major == 7 else LIBRARIES[2]


def _alignment(values: Matrix) -> Matrix:
    """How many times two divides each, 5 at most."""
    whole = values.astype(np.int64)
    return np.asarray(sum((whole % (1 << power) == 0).astype(np.float64) for power in range(1, 6)))


def _over_power(values: Matrix) -> Matrix:
    return np.asarray(np.log2(values) - np.ceil(np.log2(values)))


def _waste(values: Matrix) -> Matrix:
    return np.asarray(np.log(np.ceil(values) / np.maximum(values, 1e-9)))


def feature_matrix(tasks: Tasks, machine: Machine, figures: Figures) -> NDArray[np.float32]:
    """(tasks, len(FEATURES))."""
    batch, m, n, k, width = (np.maximum(tasks.column(name), 1.0) for name in ("batch", "m", "n", "k", "width"))
    found = bounds(tasks, machine, figures)
    traffic = np.maximum(tasks.column("bytes"), 1.0)
    blocks = m * n / _ELEMENTS_A_BLOCK / machine.multiprocessors
    columns: list[Matrix] = [
        np.log(batch), np.log(m), np.log(n), np.log(k), np.log(width),
        np.log(np.maximum(tasks.column("flops"), 1.0) / traffic),
        np.log(np.maximum(found.compute, 1e-9) / np.maximum(found.memory, 1e-9)),
        np.log(np.maximum(found.smooth_ms - found.launch, 1e-9) / found.launch),
        np.log(traffic / machine.l2_bytes),
        _alignment(m), _alignment(n), _alignment(k), _over_power(m), _over_power(n),
        np.log(blocks), _waste(blocks), np.log(m / machine.multiprocessors), _waste(width / 2), _waste(width / 4),
    ]  # fmt: skip
    waves = [tiles(tasks, tile) / machine.multiprocessors for tile in _TILES]
    columns += [np.log(item) for item in waves]
    columns += [_waste(item) for item in waves]
    columns += [np.log(np.ceil(m / high) * high * np.ceil(n / wide) * wide / (m * n)) for high, wide in _TILES]
    columns += [np.full(len(m), float(library(machine) == name)) for name in LIBRARIES]
    return np.column_stack(columns).astype(np.float32).reshape(len(m), len(FEATURES))


def codes(tasks: Tasks) -> NDArray[np.int64]:
    """The number of each task's kind."""
    return np.array([CODES[kind] for kind in tasks.kinds], dtype=np.int64)

"""Features of tasks on a whole GPU that carry over to GPUs nobody measured: ratios, waves and remainders, never the GPU's name or raw size.

First the plain ones, which any model may look at; then, for products, one block of columns for each library kernel that may run (`gpus.variants`), 0 for tasks
of other families. The library is told by its generation: cuBLAS and cuDNN call kernels `maxwell_` on Pascal, `volta_` on Volta and Turing, `ampere_` after.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.gpus.figures import Figures, headroom
from stowplan_predictor.gpus.machines import Machine
from stowplan_predictor.gpus.rooflines import Bounds, bounds, tiles
from stowplan_predictor.gpus.tasks import BATCHED, BYTES, COLUMNS, CONVOLUTION, KINDS, LINEAR, POINTWISE, PRODUCTS, ROWS, Matrix, Tasks
from stowplan_predictor.gpus.variants import VARIANTS, blocks

# Columns and rows that the libraries' single-precision kernels are named after.
_TILES: Final = ((128, 128), (128, 64), (64, 64), (32, 128), (128, 32), (32, 32))
LIBRARIES: Final = ("maxwell", "volta", "ampere")
CODES: Final = {kind: code for code, kind in enumerate((*KINDS, BYTES))}
_ELEMENTS_A_BLOCK: Final = 512.0
# Waves beyond which the last one hardly counts.
_FEW: Final = 8.0
_NAMES: Final = ("log_batch", "log_m", "log_n", "log_k", "log_width", "log_intensity", "log_compute_over_memory", "log_bound_over_launch", "log_bytes_over_l2",
                 "aligned_m", "aligned_n", "aligned_k", "log_m_over_power", "log_n_over_power", "log_blocks_per_sm", "block_waste", "log_rows_per_sm",
                 "half_window_waste", "quarter_window_waste")  # fmt: skip
_PLAIN: Final = (
    *_NAMES,
    *(f"log_waves_{columns}x{rows}" for columns, rows in _TILES),
    *(f"log_waste_{columns}x{rows}" for columns, rows in _TILES),
    *(f"log_padding_{columns}x{rows}" for columns, rows in _TILES),
    *(f"library_{name}" for name in LIBRARIES),
    "log_headroom",
)
PLAIN: Final = len(_PLAIN)
"""How many columns, the first ones, mean something for every task."""
_BLOCK: Final = ("log_waves", "wave_waste", "log_padding", "log_depth", "log_compute_over_memory", "log_work_over_launch", "log_compute_over_launch",
                 "log_passes_over_compute", "few_waves", "log_bound", "log_tile", "variant", "log_over_bound")  # fmt: skip
# Linear layers and batched products run as the same kernels.
_SET_OF: Final = {LINEAR: "gemm", BATCHED: "gemm", CONVOLUTION: "convolution"}
_SETS: Final = {name: VARIANTS[family] for family, name in _SET_OF.items()}
FEATURES: Final = (*_PLAIN, *(f"{name}_{variant.name}:{column}" for name, variants in _SETS.items() for variant in variants for column in _BLOCK))
# What a kernel's time depends on beside its own block.
_SHARED: Final = ("log_bytes_over_l2", "log_m", "log_n", "log_batch", "aligned_n", "aligned_k", "log_width", "half_window_waste", "quarter_window_waste",
                  "log_headroom", *(f"library_{name}" for name in LIBRARIES))  # fmt: skip


def columns_of(family: str) -> NDArray[np.int64]:
    """(variants, columns): of each library kernel of a family of products, the columns that its time depends on."""
    shared = [FEATURES.index(name) for name in _SHARED]
    names = [[f"{_SET_OF[family]}_{variant.name}:{column}" for column in _BLOCK[:-1]] for variant in VARIANTS[family]]
    return np.array([[FEATURES.index(name) for name in row] + shared for row in names], dtype=np.int64)


def offsets_of(family: str) -> NDArray[np.int64]:
    """(variants,): the column with the logarithm of each library kernel's own bound over the task's."""
    return np.array([FEATURES.index(f"{_SET_OF[family]}_{variant.name}:{_BLOCK[-1]}") for variant in VARIANTS[family]], dtype=np.int64)


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


def _plain(tasks: Tasks, machine: Machine, found: Bounds) -> NDArray[np.float64]:
    batch, m, n, k, width = (np.maximum(tasks.column(name), 1.0) for name in ("batch", "m", "n", "k", "width"))
    traffic = np.maximum(tasks.column("bytes"), 1.0)
    light = m * n / _ELEMENTS_A_BLOCK / machine.multiprocessors
    columns: list[Matrix] = [
        np.log(batch), np.log(m), np.log(n), np.log(k), np.log(width),
        np.log(np.maximum(tasks.column("flops"), 1.0) / traffic),
        np.log(np.maximum(found.compute, 1e-9) / np.maximum(found.memory, 1e-9)),
        np.log(np.maximum(found.smooth_ms - found.launch, 1e-9) / found.launch),
        np.log(traffic / machine.l2_bytes),
        _alignment(m), _alignment(n), _alignment(k), _over_power(m), _over_power(n),
        np.log(light), _waste(light), np.log(m / machine.multiprocessors), _waste(width / 2), _waste(width / 4),
    ]  # fmt: skip
    waves = [tiles(tasks, tile) / machine.multiprocessors for tile in _TILES]
    columns += [np.log(item) for item in waves]
    columns += [_waste(item) for item in waves]
    columns += [np.log(np.ceil(m / high) * high * np.ceil(n / wide) * wide / (m * n)) for wide, high in _TILES]
    columns += [np.full(len(m), float(library(machine) == name)) for name in LIBRARIES]
    columns.append(np.full(len(m), np.log(headroom(machine))))
    return np.column_stack(columns)


def _block(tasks: Tasks, family: str, number: int, machine: Machine, *, sustained: float, found: Bounds) -> NDArray[np.float64]:
    """Columns of one library kernel for products of one family."""
    variant = VARIANTS[family][number]
    cut = blocks(tasks, variant)
    waves = cut.count / machine.multiprocessors
    one = 1e3 * cut.flops / (machine.flops_per_second / machine.multiprocessors * sustained)
    compute = one * np.maximum(waves, 1.0)
    # `found.memory` is that of operands and result, at the bandwidth that is reached.
    a_byte = found.memory / np.maximum(tasks.column("bytes"), 1.0)
    memory = found.memory + a_byte * cut.more_bytes
    bound = found.launch + np.maximum(compute, memory)
    return np.column_stack([
        np.log(waves), _waste(waves), np.log(cut.count * cut.flops / cut.useful), np.log(cut.depth), np.log(compute / memory),
        np.log((bound - found.launch) / found.launch), np.log(compute / found.launch), np.log(a_byte * cut.passed_bytes / compute),
        np.ceil(np.minimum(waves, _FEW)), np.log(bound), np.full(len(waves), np.log(variant.rows * variant.columns)), np.full(len(waves), float(number)),
        np.log(bound / found.smooth_ms),
    ])  # fmt: skip


def _counted(tasks: Tasks) -> Tasks:
    """Kernels that work element by element or row by row count as one operation an element, whatever they do to it: memory bounds them."""
    light = np.array([KINDS.get(kind) in (POINTWISE, ROWS) for kind in tasks.kinds], dtype=np.bool_)
    numbers = tasks.numbers.copy()
    numbers[light, COLUMNS.index("flops")] = (tasks.column("m") * tasks.column("n"))[light]
    return Tasks(tasks.kinds, numbers, tasks.measured)


def feature_matrix(tasks: Tasks, machine: Machine, figures: Figures) -> NDArray[np.float32]:
    """(tasks, len(FEATURES))."""
    tasks = _counted(tasks)
    found = bounds(tasks, machine, figures)
    matrix = np.zeros((len(tasks.kinds), len(FEATURES)), dtype=np.float32)
    matrix[:, :PLAIN] = _plain(tasks, machine, found)
    for family in PRODUCTS:
        rows = tasks.of(family)
        if not len(rows):
            continue
        some, theirs = tasks.part(rows), found.part(rows)
        start = FEATURES.index(f"{_SET_OF[family]}_{VARIANTS[family][0].name}:{_BLOCK[0]}")
        sustained = figures.compute[family]
        columns = [_block(some, family, number, machine, sustained=sustained, found=theirs) for number in range(len(VARIANTS[family]))]
        matrix[rows, start : start + len(columns) * len(_BLOCK)] = np.hstack(columns)
    return matrix


def codes(tasks: Tasks) -> NDArray[np.int64]:
    """The number of each task's kind."""
    return np.array([CODES[kind] for kind in tasks.kinds], dtype=np.int64)

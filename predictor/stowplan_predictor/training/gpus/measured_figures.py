"""Figures of the GPUs that were measured, from their rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from stowplan_fleet.gpus.catalogue import find

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.gpus.features import library
from stowplan_predictor.gpus.figures import Figures, nearest_to_all
from stowplan_predictor.gpus.machines import Machine, machine_of
from stowplan_predictor.gpus.tasks import CONVOLUTION, KINDS, POINTWISE, PRODUCTS, Matrix
from stowplan_predictor.training.gpus.tables import MODELS, KernelTable

# Tasks of which physics says that they take this long are long: their launch is a few percent.
_LONG_MS: Final = 0.3
_FLOOR: Final = 0.02
_SUSTAINED: Final = 0.10
# Of the slope over the order of rows: turns until it settles, and a percentage error that is as good as none.
_TURNS: Final = 50
_NEGLIGIBLE: Final = 1e-3
# Kernels that would take less than this at the published peaks are brief.
_BRIEF_MS: Final = 0.1
# The least convolution of a fresh process takes 0.06 ms.
LEAST_MS: Final = 0.04
# Where no product is long enough.
_USUAL_TILE: Final = (128, 64)


def machine(product: str) -> Machine:
    """A GPU of the catalogue."""
    gpu = find(product)
    if gpu is None:
        raise DatasetRefused(f"GPU {product} is not in the catalogue")
    return machine_of(gpu)


def peaks_ms(table: KernelTable) -> tuple[Matrix, Matrix]:
    """Milliseconds that arithmetic and memory take at the published peaks."""
    compute, memory = np.empty(len(table)), np.empty(len(table))
    for product, rows in table.by_product():
        gpu = machine(product)
        compute[rows] = 1e3 * table.tasks.column("flops")[rows] / gpu.flops_per_second
        memory[rows] = 1e3 * table.tasks.column("bytes")[rows] / gpu.bandwidth_bytes_per_second
    return compute, memory


def hosts(table: KernelTable) -> dict[str, float]:
    """Milliseconds that each shape run before adds to the launch of a convolution, by what is held out together.

    Found from brief kernels as the slope over the order of the rows, beside a constant and the longer time at the published peaks: least absolute percentage
    error (by weighted least squares, again and again). From one end of a table to the other launches grow from 0.1 to
    0.4 ms on the A100's host, to 0.8 ms on the P100's.
    """
    longest = np.maximum(*peaks_ms(table))
    kinds, models = np.array(table.tasks.kinds), table.models
    found = {}
    for model in sorted(set(MODELS.values()) & set(models.tolist())):
        mine = (models == model) & (kinds == CONVOLUTION) & (longest < _BRIEF_MS)
        terms = np.column_stack([np.ones(mine.sum()), table.shapes_before[mine], longest[mine]])
        latency = table.latency_ms[mine]
        weight = 1.0 / latency
        for _ in range(_TURNS):
            solved = np.linalg.lstsq(terms * weight[:, None], latency * weight, rcond=None)[0]
            weight = 1.0 / latency / np.sqrt(np.maximum(np.abs(terms @ solved / latency - 1.0), _NEGLIGIBLE))
        found[model] = max(0.0, float(solved[1]))
    return found


def host_of(machine: Machine, known: Sequence[tuple[Machine, float]]) -> float:
    """The same of a GPU that nobody measured: as those with the same library of kernels, else what is off by the least percentage from all of the others."""
    kin = [value for other, value in known if library(other) == library(machine)]
    return float(np.mean(kin)) if kin else nearest_to_all([value for _, value in known])


def own_ms(table: KernelTable, per_shape: Mapping[str, float]) -> Matrix:
    """Latencies less what the host spent for shapes run before; what is left is never less than most of the least that was measured."""
    host = table.shapes_before * np.array([per_shape[model] for model in table.models])
    return np.asarray(np.maximum(table.latency_ms - host, np.minimum(table.latency_ms, LEAST_MS)))


def figures(table: KernelTable) -> dict[str, Figures]:
    """By what is held out together: both A100s have the same."""
    compute, memory = peaks_ms(table)
    longest = np.maximum(compute, memory)
    kinds = np.array(table.tasks.kinds)
    families = np.array([KINDS[kind] for kind in table.tasks.kinds])
    models = table.models
    found = {}
    for model in sorted(set(MODELS.values()) & set(models.tolist())):
        mine = models == model
        launches = {kind: float(np.quantile(table.latency_ms[mine & (kinds == kind)], _FLOOR)) for kind in KINDS if KINDS[kind] != CONVOLUTION}
        # Small convolutions were hardly measured; a linear layer is the nearest to one.
        launches["conv"] = launches["linear"]
        light = mine & (families == POINTWISE) & (longest > _LONG_MS)
        shares = {}
        tiles = {}
        for family in PRODUCTS:
            heavy = mine & (families == family)
            long = heavy & (longest > _LONG_MS)
            shares[family] = 1.0 / float(np.quantile(table.latency_ms[long] / longest[long], _SUSTAINED))
            names = Counter(tuple(tile) for tile in table.tiles[heavy].tolist() if tile[0])
            tiles[family] = (int(names.most_common(1)[0][0][0]), int(names.most_common(1)[0][0][1])) if names else _USUAL_TILE
        found[model] = Figures(launches, 1.0 / float(np.median(table.latency_ms[light] / memory[light])), shares, tiles)
    return found

"""Figures of the GPUs that were measured, from their rows."""

from collections import Counter
from typing import Final

import numpy as np
from stowplan_fleet.gpus.catalogue import find

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.gpus.figures import Figures
from stowplan_predictor.gpus.machines import Machine, machine_of
from stowplan_predictor.gpus.tasks import CONVOLUTION, KINDS, POINTWISE, PRODUCTS, Matrix
from stowplan_predictor.training.gpus.tables import MODELS, KernelTable

# Tasks of which physics says that they take this long are long: their launch is a few percent.
_LONG_MS: Final = 0.3
_FLOOR: Final = 0.02
_SUSTAINED: Final = 0.10
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

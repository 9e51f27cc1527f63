"""Labels: which of the library kernels that physics knows (`gpus.variants`) a published row ran as, by the kernel's name."""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.gpus.tasks import CONVOLUTION
from stowplan_predictor.gpus.variants import VARIANTS

_WINOGRAD: Final = re.compile(r"winograd.*tile(\d{3})")
_TILE: Final = re.compile(r"(scudnn|sgemm)_(\d+x\d+)")


def _name(kernel: str, family: str) -> str:
    if family != CONVOLUTION:
        found = re.search(r"\d+x\d+", kernel)
        return found[0] if found else ""
    winograd = _WINOGRAD.search(kernel)
    if winograd:
        return f"winograd_{winograd[1]}{'m' if 'mobile' in kernel else ''}"
    if "gcgemm" in kernel:
        return "fourier"
    tile = _TILE.search(kernel)
    if not tile:
        return "other"
    return f"{'implicit' if tile[1] == 'scudnn' else 'transformed'}_{tile[2]}"


def labels(kernels: Sequence[str], family: str) -> NDArray[np.int64]:
    """Number of each row's variant among its family's; -1 where physics knows none like it."""
    number = {variant.name: index for index, variant in enumerate(VARIANTS[family])}
    known = {kernel: number.get(_name(kernel, family), -1) for kernel in set(kernels)}
    return np.array([known[kernel] for kernel in kernels], dtype=np.int64)

"""What was measured of each kernel type, and what may be said beyond it.

Which range holds for a kernel:
* its type's own, where the type was measured often enough to have one;
* else, for a type that was measured at all: that of its class, *light* (memory-bound types) or *heavy* (matrix-like types);
* else, for a type that was never measured: the light class, only where the kernel is no larger (FLOPs, bytes) and computes no more for a byte than
  the kernels of that class did. Nothing says how slow such a kernel is, so its ceiling is the efficiency that 99 % of the time measured for
  that class stays above;
* else KERNEL_NOT_SUPPORTED: nothing like it was measured.

Features are held at most a factor of two beyond the range before any model sees them, and no model's efficiency leaves what was measured around the
roofline: a ratio outside would be the model's invention. A kernel of a measured type beyond that factor is marked as extrapolated.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet.answers import UnknownReason

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.features import FEATURES
from stowplan_predictor.kernels.regressors import Efficiencies

LIGHT: Final = "light"
HEAVY: Final = "heavy"
# What must not exceed the light class's measured range for a kernel of a type that was never measured.
_LIMITS: Final = ("log_flops", "log_bytes", "log_intensity")
# Sizes whose distance from the measured range counts; the rest are remainders, flags and places, which a range says little about.
_SIZES: Final = (
    "log_flops", "log_bytes", "log_m", "log_n", "log_k", "log_groups", "log_window", "log_stride", "log_intensity", "log_chunk", "log_batch",
    "log_rows_a_product", "log_inner", "log_width",
)  # fmt: skip
# These are logarithms, so one margin serves all of them.
_MARGIN: Final = math.log(2.0)


@dataclass(frozen=True, slots=True)
class TypeRange:
    """What a bundle says about what was measured of one kernel type or class."""

    feature_lower: tuple[float, ...]
    """Least measured value of each feature, in the order of FEATURES."""
    feature_upper: tuple[float, ...]
    log_ratio_lower: float
    """Least measured log(latency / roofline)."""
    log_ratio_upper: float
    ceiling_log_ratio: float
    """What 99 % of the measured time stays below: kernels that matter to a network, not the overhead of the smallest ones."""
    rows: int
    families: int
    error_log: float
    """0.9 quantile of |log(measured / predicted)| on families that the model did not learn from."""


class Ranges:
    """The ranges of a bundle, as arrays."""

    def __init__(self, ranges: Mapping[str, TypeRange], classes: Mapping[str, str]) -> None:
        """Takes the ranges by type (and by class under LIGHT and HEAVY), and the class of every type that was measured at all."""
        self._ranges = ranges
        self._classes = classes
        self._index = {name: position for position, name in enumerate(ranges)}
        self._lower = np.array([item.feature_lower for item in ranges.values()])
        self._upper = np.array([item.feature_upper for item in ranges.values()])
        self._ratio_lower = np.array([item.log_ratio_lower for item in ranges.values()])
        self._ratio_upper = np.array([item.log_ratio_upper for item in ranges.values()])
        self._ceiling = np.array([item.ceiling_log_ratio for item in ranges.values()])
        self._error = np.array([item.error_log for item in ranges.values()])
        self._sizes = np.array([FEATURES.index(name) for name in _SIZES])
        self._limits = np.array([FEATURES.index(name) for name in _LIMITS])

    def key(self, kernel_type: str, name: str, features: NDArray[np.float32]) -> str:
        """Which range holds for one kernel.

        Raises:
            CannotJudge: nothing like it was measured.
        """
        if kernel_type in self._ranges and kernel_type not in (LIGHT, HEAVY):
            return kernel_type
        fallback = self._classes.get(kernel_type, LIGHT)
        if fallback not in self._ranges:
            raise CannotJudge(UnknownReason.KERNEL_NOT_SUPPORTED, f"kernel {name}: {kernel_type} was measured too rarely and has no fallback")
        if kernel_type not in self._classes and (features[self._limits] > self._upper[self._index[fallback]][self._limits]).any():
            raise CannotJudge(
                UnknownReason.KERNEL_NOT_SUPPORTED,
                f"kernel {name}: {kernel_type} was never measured, and no memory-bound kernel of its size and work was either",
            )
        return fallback

    def _at(self, keys: Sequence[str]) -> NDArray[np.int64]:
        return np.array([self._index[key] for key in keys], dtype=np.int64)

    def held(self, keys: Sequence[str], matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features held at the edge of what is known."""
        at = self._at(keys)
        return np.clip(matrix, self._lower[at] - _MARGIN, self._upper[at] + _MARGIN).astype(np.float32)

    def efficiencies(
        self, types: Sequence[str], keys: Sequence[str], matrix: NDArray[np.float32], log_ratio: NDArray[np.float64], spread: NDArray[np.float64]
    ) -> Efficiencies:
        """A model's log ratios, held within what was measured, with how far each kernel is from it."""
        at = self._at(keys)
        sizes = matrix[:, self._sizes]
        outside = np.maximum(self._lower[at][:, self._sizes] - sizes, sizes - self._upper[at][:, self._sizes])
        distance = np.maximum(outside.max(axis=1), 0.0)
        held = np.clip(log_ratio, self._ratio_lower[at], self._ratio_upper[at])
        strange = np.array([name not in self._classes for name in types], dtype=np.bool_)
        return Efficiencies(
            log_ratio=held,
            extrapolated=distance > _MARGIN,
            error_log=self._error[at],
            ceiling=np.where(strange, np.maximum(self._ceiling[at], held), held),
            distance=distance,
            spread=spread,
        )

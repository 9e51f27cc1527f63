"""Learned efficiency of kernels: log(latency / roofline), one ONNX regressor per kernel type and two fallbacks.

Which regressor answers for a kernel:
* its type's own, where the type was measured often enough to have one;
* else, for a type that was measured at all: the fallback of its class, *light* (memory-bound types) or *heavy* (matrix-like types);
* else, for a type that was never measured: the light fallback, only where the kernel is no larger (FLOPs, bytes) and computes no more for a byte than
  the kernels that fallback was measured on. Nothing says how slow such a kernel is, so its ceiling is the efficiency that 99 % of the time measured for
  that fallback stays above;
* else KERNEL_NOT_SUPPORTED: nothing like it was measured.

A kernel of a measured type whose features lie beyond the measured range by more than a factor of two is marked as extrapolated.
The predicted efficiency never leaves the range that was measured for the regressor: a ratio outside it would be the regressor's invention.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from stowplan_fleet.answers import UnknownReason

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.features import FEATURES

LIGHT: Final = "light"
HEAVY: Final = "heavy"
# What must not exceed the light fallback's measured range for a kernel of a type that was never measured.
_LIMITS: Final = ("log_flops", "log_bytes", "log_intensity")
# All features are logarithms, so one margin serves all of them.
_MARGIN: Final = math.log(2.0)


@dataclass(frozen=True, slots=True)
class RegressorTable:
    """What a bundle says about one regressor."""

    file: str
    """ONNX file in the bundle: features (n, columns) float32 to log efficiency (n, 1) float32."""
    columns: tuple[str, ...]
    """Which features it looks at, in its order."""
    feature_lower: tuple[float, ...]
    """Least measured value of each column."""
    feature_upper: tuple[float, ...]
    log_ratio_lower: float
    """Least measured log(latency / roofline)."""
    log_ratio_upper: float
    ceiling_log_ratio: float
    """What 99 % of the measured time stays below: kernels that matter to a network, not the overhead of the smallest ones."""
    rows: int
    families: int
    error_log: float
    """0.9 quantile of |log(measured / predicted)| on held-out families."""


@dataclass(frozen=True, slots=True)
class KernelTable:
    """What a bundle says about kernels."""

    features: tuple[str, ...]
    """The feature order it was trained with; must be FEATURES."""
    regressors: Mapping[str, RegressorTable]
    """By kernel type, and the fallbacks under LIGHT and HEAVY."""
    classes: Mapping[str, str]
    """LIGHT or HEAVY for every kernel type that was measured at all."""


@dataclass(frozen=True, slots=True)
class Efficiencies:
    """What the regressors say about some kernels."""

    log_ratio: NDArray[np.float64]
    """log(latency / roofline)."""
    extrapolated: NDArray[np.bool_]
    """True for a measured type beyond the measured range."""
    error_log: NDArray[np.float64]
    """0.9 quantile of the absolute log error of the regressor that answered, on held-out families."""
    ceiling: NDArray[np.float64]
    """`ceiling_log_ratio` where the type was never measured; elsewhere the predicted one."""
    distance: NDArray[np.float64]
    """How far, as a log factor, features lie beyond what was measured for the type; 0 inside."""
    spread: NDArray[np.float64]
    """Absolute disagreement of a blend's members in log(latency / roofline); 0 for a single model."""


def open_session(model: bytes) -> ort.InferenceSession:
    """A session that uses the calling thread only: many small calls from many threads.

    Raises:
        ValueError: not an ONNX file that the runtime can open.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; they are raised as well
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(f"ONNX Runtime cannot open a regressor: {error}") from error


class _Regressor:
    def __init__(self, table: RegressorTable, model: bytes) -> None:
        self.table = table
        self._session = open_session(model)
        self._input = self._session.get_inputs()[0].name
        self._columns = np.array([FEATURES.index(name) for name in table.columns])
        self._lower = np.array(table.feature_lower)
        self._upper = np.array(table.feature_upper)
        self._limits = [(FEATURES.index(name), upper) for name, upper in zip(table.columns, table.feature_upper, strict=True) if name in _LIMITS]

    def beyond(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        chosen = matrix[:, self._columns]
        return np.maximum(np.maximum(self._lower - chosen, chosen - self._upper), 0.0).max(axis=1)

    def heavier(self, features: NDArray[np.float32]) -> bool:
        """True where one kernel is larger or denser than everything this regressor was measured on."""
        return any(features[index] > upper for index, upper in self._limits)

    def log_ratio(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        # Ranges end at the margin for the regressor too: beyond it, it is held at the edge of what it knows.
        inputs = np.clip(matrix[:, self._columns], self._lower - _MARGIN, self._upper + _MARGIN).astype(np.float32)
        raw = self._session.run(None, {self._input: inputs})[0]
        return np.clip(np.asarray(raw, dtype=np.float64).reshape(-1), self.table.log_ratio_lower, self.table.log_ratio_upper)


class KernelRegressors:
    """All regressors of a bundle. Thread-safe: ONNX Runtime sessions are."""

    def __init__(self, table: KernelTable, models: Mapping[str, bytes]) -> None:
        """Opens one session a regressor.

        Args:
            table: what the bundle says about kernels.
            models: content of each ONNX file the table names, by that name.
        """
        self._classes = table.classes
        self._regressors = {name: _Regressor(item, models[item.file]) for name, item in table.regressors.items()}

    def _key(self, kernel_type: str, features: NDArray[np.float32], name: str) -> str:
        if kernel_type in self._regressors and kernel_type not in (LIGHT, HEAVY):
            return kernel_type
        fallback = self._classes.get(kernel_type, LIGHT)
        regressor = self._regressors.get(fallback)
        if regressor is None:
            raise CannotJudge(UnknownReason.KERNEL_NOT_SUPPORTED, f"kernel {name}: {kernel_type} was measured too rarely and has no fallback")
        if kernel_type not in self._classes and regressor.heavier(features):
            raise CannotJudge(
                UnknownReason.KERNEL_NOT_SUPPORTED,
                f"kernel {name}: {kernel_type} was never measured, and no memory-bound kernel of its size and work was either",
            )
        return fallback

    def efficiencies(self, types: Sequence[str], names: Sequence[str], matrix: NDArray[np.float32]) -> Efficiencies:
        """Efficiency of many kernels, one ONNX call per regressor.

        Args:
            types: kernel types.
            names: of the kernels, for messages.
            matrix: their features (n, len(FEATURES)).

        Raises:
            CannotJudge: a kernel nothing like which was measured.
        """
        count = len(types)
        groups: dict[str, list[int]] = {}
        for index, kernel_type in enumerate(types):
            groups.setdefault(self._key(kernel_type, matrix[index], names[index]), []).append(index)
        found = Efficiencies(np.empty(count), np.zeros(count, dtype=np.bool_), np.empty(count), np.empty(count), np.zeros(count), np.zeros(count))
        for key, indices in groups.items():
            regressor = self._regressors[key]
            chosen = matrix[indices]
            found.log_ratio[indices] = regressor.log_ratio(chosen)
            found.distance[indices] = regressor.beyond(chosen)
            found.extrapolated[indices] = found.distance[indices] > _MARGIN
            strange = np.array([types[index] not in self._classes for index in indices])
            found.ceiling[indices] = np.where(strange, np.maximum(regressor.table.ceiling_log_ratio, found.log_ratio[indices]), found.log_ratio[indices])
            found.error_log[indices] = regressor.table.error_log
        return found

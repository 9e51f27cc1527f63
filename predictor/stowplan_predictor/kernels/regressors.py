"""What any kernel model says (`Efficiencies`), and how one is opened and asked: sessions of ONNX Runtime over features."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Efficiencies:
    """What a model says about some kernels."""

    log_ratio: NDArray[np.float64]
    """log(latency / roofline)."""
    extrapolated: NDArray[np.bool_]
    """True for a measured type beyond the measured range."""
    error_log: NDArray[np.float64]
    """0.9 quantile of the absolute log error for such kernels, on families that the model did not learn from."""
    ceiling: NDArray[np.float64]
    """What 99 % of the measured time stays below where the type was never measured; elsewhere the predicted log ratio."""
    distance: NDArray[np.float64]
    """How far, as a log factor, features lie beyond what was measured for the type; 0 inside."""
    spread: NDArray[np.float64]
    """Absolute disagreement of a blend's members in log(latency / roofline); 0 for a single model."""

    def part(self, start: int, end: int) -> "Efficiencies":
        """Of some of the kernels."""
        return Efficiencies(*(getattr(self, field.name)[start:end] for field in fields(self)))


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


class FeatureRegressor:
    """One ONNX file: features (n, columns) float32 to one number a row (n, 1) float32."""

    def __init__(self, model: bytes) -> None:
        """Opens a session; ValueError where the runtime cannot."""
        self._session = open_session(model)
        self._input = self._session.get_inputs()[0].name

    def values(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """One value a row."""
        return np.asarray(self._session.run(None, {self._input: matrix})[0], dtype=np.float64).reshape(-1)


def groups(keys: Sequence[str]) -> dict[str, list[int]]:
    """Positions of each key."""
    found: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        found.setdefault(key, []).append(index)
    return found

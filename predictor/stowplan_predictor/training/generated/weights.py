"""Weights of random networks: one small random block, repeated, either inside the ONNX file or in one file that thousands of networks share.

Times do not depend on what weights say, as long as no number vanishes into the denormal range or overflows; so each weight has a variance of about
1 / fan-in. Drawing fifty million normal numbers one by one, or writing them out for each network, would take longer than measuring it. The shared file is
ONNX's external data, which the runtime maps into memory: its kernels run as fast as with weights inside the file (median ratio 1.00 over 60 networks), and
sessions open in a third of the time. Weights of one network never overlap there.
"""

from functools import cache
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from stowplan_predictor.measuring.structures import STRIPPED

SHARED: Final = "weights.bin"
"""Name of the shared file, beside the models."""
# A prime: rows of a tiled weight, whose lengths are mostly powers of two, then differ from each other.
_BLOCK: Final = 65_537
# Standard deviation of each region of the shared file; a weight lies in the region nearest to the square root of 1 / fan-in.
_DEVIATIONS: Final = (1.0, 1 / 4, 1 / 16, 1 / 64)
# Elements of a region: fifty million parameters, and the pages that alignment leaves.
_REGION: Final = 51_380_224
_PAGE: Final = 1024
# Smaller tensors stay inside the file: biases and normalizations.
_INSIDE: Final = 4096


@cache
def _block() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(_BLOCK).astype(np.float32)


def _repeated(values: NDArray[np.float32], elements: int) -> bytes:
    whole, rest = divmod(elements, len(values))
    return values.tobytes() * whole + values[:rest].tobytes()


def _deviation(shape: tuple[int, ...]) -> float:
    """Of a weight whose first dimension is what it writes (a matrix multiplied from the left deviates by a constant factor)."""
    return float(max(1, prod(shape[1:])) ** -0.5)


def inside(name: str, shape: tuple[int, ...], *, positive: bool = False) -> TensorProto:
    """A weight with its values; `positive` for what is divided by."""
    values = np.abs(_block()) + np.float32(0.5) if positive else _block() * np.float32(_deviation(shape))
    return TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, raw_data=_repeated(values, prod(shape)))


def stripped(name: str, shape: tuple[int, ...]) -> TensorProto:
    """A weight without values, as `measuring.structures.strip_weights` leaves it."""
    return _external(name, shape, {"location": STRIPPED})


def _external(name: str, shape: tuple[int, ...], entries: dict[str, str]) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


class SharedPlaces:
    """Places in the shared file for the weights of one network, one after the other."""

    def __init__(self) -> None:
        self._taken = 0

    def tensor(self, name: str, shape: tuple[int, ...], *, positive: bool = False) -> TensorProto:
        """A weight in the shared file, or inside where it is small.

        Raises:
            ValueError: the network holds more than the file.
        """
        elements = prod(shape)
        if positive or elements < _INSIDE:
            return inside(name, shape, positive=positive)
        region = min(range(len(_DEVIATIONS)), key=lambda index: abs(np.log(_DEVIATIONS[index] / _deviation(shape))))
        if self._taken + elements > _REGION:
            raise ValueError(f"weight {name}: the network holds more than {_REGION} parameters")
        begin = region * _REGION + self._taken
        self._taken += -(-elements // _PAGE) * _PAGE
        return _external(name, shape, {"location": SHARED, "offset": str(4 * begin), "length": str(4 * elements)})


def write_shared(folder: Path) -> Path:
    """The shared file in a folder, written unless it is there."""
    path = folder / SHARED
    if path.exists() and path.stat().st_size == 4 * _REGION * len(_DEVIATIONS):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        for deviation in _DEVIATIONS:
            file.write(_repeated(_block() * np.float32(deviation), _REGION))
    temporary.replace(path)
    return path

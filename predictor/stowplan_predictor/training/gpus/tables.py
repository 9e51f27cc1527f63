"""The public kernel measurements as rows: tasks, the GPU that ran them, milliseconds, and the name of the kernel that ran."""

import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from numpy.typing import NDArray

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.gpus.tasks import BATCHED, CONVOLUTION, KINDS, LINEAR, Matrix, Tasks
from stowplan_predictor.training.gpus import published

# As the tables name GPUs, and as the catalogue does.
PRODUCTS: Final = {
    "Tesla P4": "Tesla-P4",
    "Tesla P100-PCIE-16GB": "Tesla-P100-PCIE-16GB",
    "Tesla V100-PCIE-32GB": "Tesla-V100-PCIE-32GB",
    "Tesla T4": "Tesla-T4",
    "NVIDIA A100-PCIE-40GB": "NVIDIA-A100-PCIE-40GB",
    "NVIDIA A100 80GB PCIe": "NVIDIA-A100-80GB-PCIe",
}
# What is held out together: both A100s are one chip.
MODELS: Final = {"Tesla-P4": "P4", "Tesla-P100-PCIE-16GB": "P100", "Tesla-V100-PCIE-32GB": "V100", "Tesla-T4": "T4",
                 "NVIDIA-A100-PCIE-40GB": "A100", "NVIDIA-A100-80GB-PCIe": "A100"}  # fmt: skip
_ITEM: Final = 4.0
_ARCHITECTURE: Final = re.compile(r"^_*(?:cudnn_infer_)?(?:maxwell|volta|ampere|turing|pascal)_")
_TILE: Final = re.compile(r"(?:gemm|scudnn|winograd)_(\d+)x(\d+)")


@dataclass(frozen=True)
class KernelTable:
    """Rows."""

    tasks: Tasks
    products: NDArray[np.str_]
    """Catalogue's name of the GPU of each row."""
    latency_ms: Matrix
    names: NDArray[np.str_]
    """Kernel that ran, without the generation in its name and without its template's arguments: what a GPU of another generation calls it too."""
    tiles: NDArray[np.int64]
    """(rows, 2): both sides of a tile as the kernel's name tells; 0 where it does not."""
    shapes_before: Matrix
    """How many shapes of convolutions the process that timed the row had timed before, as the order of the rows tells; 0 for other kernels. With its search for
    the fastest convolution switched on, PyTorch spends more of the host's time on each launch the more shapes it has seen (`hosts`)."""

    def __len__(self) -> int:
        return len(self.latency_ms)

    @property
    def models(self) -> NDArray[np.str_]:
        """What is held out together."""
        return np.array([MODELS[str(product)] for product in self.products])

    def part(self, rows: NDArray[np.int64]) -> "KernelTable":
        """Some rows."""
        return KernelTable(self.tasks.part(rows), self.products[rows], self.latency_ms[rows], self.names[rows], self.tiles[rows], self.shapes_before[rows])

    def by_product(self) -> Iterable[tuple[str, NDArray[np.int64]]]:
        """Rows of each GPU."""
        for product in sorted(set(self.products.tolist())):
            yield product, np.flatnonzero(self.products == product)


def plain_name(kernel: str) -> str:
    """A kernel's name without what says only which generation it was compiled for."""
    head = kernel.removeprefix("void ").split("(anonymous namespace)::")[-1]
    head = re.split(r"[<(]", head, maxsplit=1)[0]
    functor = re.search(r"(CUDAFunctor\w+|BinaryFunctor|[AB]UnaryFunctor|GeluCUDA\w+|tanh_kernel_cuda|pow_tensor_\w+?_kernel|launch_clamp_scalar)", kernel)
    name = _ARCHITECTURE.sub("", head.split("::")[-1])
    return f"{name}[{functor[1]}]" if functor and "elementwise" in name else name


def _tile(kernel: str) -> tuple[int, int]:
    found = _TILE.search(kernel)
    return (int(found[1]), int(found[2])) if found else (0, 0)


Read = Callable[[str], Matrix]


def _product(read: Read, *, shared: bool) -> Matrix:
    # As published: (B, M, N) times (B, N, K), and a layer from N to K numbers. Its N is what is summed over, our k; the grids of the kernels agree.
    batch, m, k, n = read("B"), read("M"), read("N"), read("K")
    right = n * k if shared else batch * n * k
    traffic = _ITEM * (batch * m * k + right + batch * m * n)
    # A linear layer's batch is rows of one product.
    rows, batches = (batch * m, np.ones_like(batch)) if shared else (m, batch)
    return np.column_stack([batches, rows, n, k, np.ones_like(m), 2.0 * batch * m * n * k, traffic])


def _convolution(read: Read) -> Matrix:
    images, inputs, outputs, window, size, stride, padding = (
        read(name) for name in ("B", "Input_Channel", "Output_Channel", "Kernel_Szie", "Input_Size", "Stride", "Padding")
    )
    side = np.floor((size + 2 * padding - window) / stride) + 1
    m, k = images * side * side, inputs * window * window
    traffic = _ITEM * (images * inputs * size * size + outputs * k + m * outputs)
    return np.column_stack([np.ones_like(m), m, outputs, k, side, 2.0 * m * outputs * k, traffic])


def _light(read: Read, kind: str) -> Matrix:
    rows, columns = read("B"), read("H")
    elements = rows * columns
    # Both operands and the result, or one and the result; one operation an element, as features count them.
    tensors = 3.0 if kind in ("add", "div", "mul", "pow") else 2.0
    ones = np.ones_like(rows)
    return np.column_stack([ones, rows, columns, ones, ones, elements, _ITEM * tensors * elements])


def _numbers(kind: str, read: Read) -> Matrix:
    family = KINDS[kind]
    if family == CONVOLUTION:
        return _convolution(read)
    if family in (LINEAR, BATCHED):
        return _product(read, shared=family == LINEAR)
    return _light(read, kind)


def _parsed(name: str, content: bytes) -> KernelTable:
    try:
        table = pc.read_csv(io.BytesIO(content))
        kinds = table["OPName"].to_pylist()
        kind = kinds[0]
        numbers = _numbers(kind, lambda column: table[column].to_numpy().astype(np.float64))
        if set(kinds) != {kind}:
            raise DatasetRefused(f"{name}: rows of {sorted(set(kinds))}; one operator a table was published")
        latency = table["Latency"].to_numpy().astype(np.float64)
        devices, kernels = table["Device"].to_pylist(), table["Kernel Name"].to_pylist()
        products = np.array([PRODUCTS[device] for device in devices])
    except (pa.ArrowInvalid, KeyError, IndexError) as error:
        raise DatasetRefused(f"{name}: not a table of kernels ({error})") from error
    if not (np.isfinite(latency) & (latency > 0)).all():
        raise DatasetRefused(f"{name}: a latency is not above zero")
    plain: Mapping[str, str] = {kernel: plain_name(kernel) for kernel in set(kernels)}
    tiles = {kernel: _tile(kernel) for kernel in plain}
    tasks = Tasks((kind,) * len(kinds), numbers, np.ones(len(kinds), dtype=np.bool_))
    before = np.zeros(len(kinds))
    for product in set(products.tolist()) if kind == CONVOLUTION else ():
        mine = np.flatnonzero(products == product)
        before[mine] = np.arange(len(mine))
    sides = np.array([tiles[kernel] for kernel in kernels], dtype=np.int64)
    return KernelTable(tasks, products, latency, np.array([plain[kernel] for kernel in kernels]), sides, before)


def joined(tables: Iterable[KernelTable]) -> KernelTable:
    """Several tables as one."""
    parts = list(tables)
    tasks = Tasks(
        tuple(kind for part in parts for kind in part.tasks.kinds),
        np.concatenate([part.tasks.numbers for part in parts]),
        np.concatenate([part.tasks.measured for part in parts]),
    )
    return KernelTable(
        tasks,
        np.concatenate([part.products for part in parts]),
        np.concatenate([part.latency_ms for part in parts]),
        np.concatenate([part.names for part in parts]),
        np.concatenate([part.tiles for part in parts]),
        np.concatenate([part.shapes_before for part in parts]),
    )


def read(folder: Path) -> KernelTable:
    """All published rows.

    Raises:
        DatasetRefused: a file is missing, altered, or not what it should be.
    """
    return joined(_parsed(name, content) for name, content in published.files(folder))

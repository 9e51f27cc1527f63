"""Measured kernels of one operator each, as tasks with their milliseconds: from a campaign's rows of either runtime.

Kernels that compilers make of several operators are no tasks: what fusion saves is learned from whole networks (`laws`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.gpus.tasks import COLUMNS, KINDS, Matrix, Tasks
from stowplan_predictor.training.cuda.plans import EAGER
from stowplan_predictor.training.cuda.rows import KernelRow, NetworkRow, NodeRow
from stowplan_predictor.training.cuda.tables import GpuDataset
from stowplan_predictor.training.gpubundles import operators
from stowplan_predictor.training.gpubundles.operators import Call, Task

_FLOAT: Final = "f32"
_LIBRARY: Final = "library"
# An argument of a printed call: a list, or whatever stands between two commas.
_ARGUMENT: Final = re.compile(r"\[[^\]]*\]|[^,\s][^,]*")


@dataclass(frozen=True)
class Kernels:
    """Rows."""

    tasks: Tasks
    latency_ms: Matrix
    """On the device, without launching."""
    networks: NDArray[np.str_]
    """Family of the network that each kernel is of: what is held out together."""

    def __len__(self) -> int:
        return len(self.latency_ms)

    def part(self, rows: NDArray[np.bool_]) -> "Kernels":
        """Some rows."""
        return Kernels(self.tasks.part(np.flatnonzero(rows)), self.latency_ms[rows], self.networks[rows])

    @property
    def families(self) -> NDArray[np.str_]:
        """Family of kernels of each row."""
        return np.array([KINDS[kind] for kind in self.tasks.kinds], dtype=np.str_)


def kernels_of(dataset: GpuDataset, runtime: str) -> Kernels:
    """All kernels of a runtime that are one operator with a time.

    Raises:
        DatasetRefused: a kernel's recorded shapes cannot be read, or it belongs to no network.
    """
    families = {(row.unit, row.network): row.family for row in dataset.rows["networks"] if isinstance(row, NetworkRow)}
    nodes: dict[tuple[str, int], dict[str, NodeRow]] = {}
    for row in dataset.rows["nodes"]:
        if isinstance(row, NodeRow):
            nodes.setdefault((row.unit, row.graph), {})[row.name] = row
    found: list[tuple[Task, float, str]] = []
    for row in dataset.rows["kernels"]:
        if not isinstance(row, KernelRow) or row.runtime != runtime or row.median_us is None or len(row.operators) != 1:
            continue
        family = families.get((row.unit, row.network))
        if family is None:
            raise DatasetRefused(f"kernels.parquet: kernel {row.name} of {row.network}: the unit {row.unit} has no such network; measure the campaign again")
        call = _eager(row) if runtime == EAGER else _compiled(row, nodes.get((row.unit, row.graph), {}))
        task = operators.task_of(call) if call else None
        if task is not None:
            found.append((task, row.median_us / 1e3, family))
    return _table(found)


def _table(found: Sequence[tuple[Task, float, str]]) -> Kernels:
    numbers = np.array([task.numbers for task, _, _ in found], dtype=np.float64).reshape(len(found), len(COLUMNS))
    measured = np.array([task.measured for task, _, _ in found], dtype=np.bool_)
    tasks = Tasks(tuple(task.kind for task, _, _ in found), numbers, measured)
    return Kernels(tasks, np.array([ms for _, ms, _ in found], dtype=np.float64), np.array([family for _, _, family in found], dtype=np.str_))


def _eager(row: KernelRow) -> Call | None:
    if not row.shapes:
        return None
    try:
        given = json.loads(row.shapes)
        shapes = [tuple(int(size) for size in dims) for dims in given["dims"] if dims]
        values = operators.calls_values(given.get("values") or ())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetRefused(f"kernels.parquet: kernel {row.name} of {row.network}: its shapes cannot be read ({error}): {row.shapes[:80]!r}") from error
    return Call(operators.plain(row.operators[0]), tuple(shapes), values)


def _compiled(row: KernelRow, nodes: Mapping[str, NodeRow]) -> Call | None:
    node = nodes.get(row.nodes[0]) if len(row.nodes) == 1 else None
    if node is None or node.dtype != _FLOAT:
        return None
    arguments = _ARGUMENT.findall(node.arguments)
    given = [nodes.get(text.strip()) for text in arguments]
    # `None` is a bias that is not there; scalars and lists are values.
    values = [text.strip() for text, source in zip(arguments, given, strict=True) if source is None and text.strip() != "None"]
    tensors = [source for source in given if source is not None]
    call = Call(operators.plain(node.target), tuple(source.shape for source in tensors), tuple(values))
    # A product is what the library computes: a generated kernel of the same node only changes its layout, or adds its bias.
    if any(source.dtype != _FLOAT for source in tensors) or (row.source == _LIBRARY) != operators.is_product(call):
        return None
    return call

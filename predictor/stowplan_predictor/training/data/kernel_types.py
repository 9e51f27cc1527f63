"""Kernel types as the runtime names them: which of its operators ran for each of our kernels."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.training.data.rows import KernelRow

# Copies into channel blocks and back: they serve a kernel, they are none.
_COPIES: Final = frozenset({"ReorderInput", "ReorderOutput"})


def type_name(row: KernelRow) -> str:
    """`Conv`, or with its domain `Conv/com.microsoft.nchwc`."""
    return f"{row.op_type}/{row.domain}" if row.domain else row.op_type


def runtime_types(kernels: Sequence[Kernel], owners: Mapping[str, int], rows: Iterable[KernelRow]) -> tuple[str, ...]:
    """What the runtime ran for each kernel: the node that does its anchor's work, else the longest one; empty where it ran nothing.

    Args:
        kernels: ours.
        owners: operator that a runtime node does the work of, by its name.
        rows: of one profile or several.
    """
    home = {operator: kernel for kernel in kernels for operator in kernel.operators}
    found: dict[int, tuple[tuple[bool, float], str]] = {}
    for row in rows:
        operator = owners.get(row.node)
        if operator is None or operator not in home or row.op_type in _COPIES:
            continue
        kernel = home[operator]
        rank = (operator == kernel.anchor, row.median_us)
        if kernel.index not in found or rank > found[kernel.index][0]:
            found[kernel.index] = (rank, type_name(row))
    return tuple(found[kernel.index][1] if kernel.index in found else "" for kernel in kernels)

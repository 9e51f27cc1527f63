"""Torch modules of the campaign: the zoo's networks, and blocks of random kernels; weights and inputs from fixed seeds, the same in every process."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch.nn import functional

from stowplan_predictor.errors import RuntimeRefused
from stowplan_predictor.training.cuda.random_kernels import KernelSpec
from stowplan_predictor.training.zoo import entries as zoo

_SEED: Final = 0


class RandomBlock(torch.nn.Module):  # type: ignore[misc] # torch is not read by mypy
    """Specifications side by side, each with an input and an output of its own. What is fused with what is told by the compiler, not by this."""

    def __init__(self, specs: Sequence[KernelSpec]) -> None:
        super().__init__()
        self.specs = tuple(specs)
        self.weights = torch.nn.ParameterList([torch.nn.Parameter(torch.randn(shape) * 0.05) for spec in specs if (shape := _weight_shape(spec)) is not None])

    def forward(self, *inputs: Any) -> tuple[Any, ...]:  # noqa: ANN401 - tensors
        """One output a specification."""
        weights = iter(self.weights)
        return tuple(
            _chained(_computed(spec, given, next(weights) if _weight_shape(spec) is not None else None), spec.chain)
            for spec, given in zip(self.specs, inputs, strict=True)
        )


def network(name: str) -> tuple[Any, tuple[Any, ...], zoo.Entry]:
    """A network of the zoo, its inputs, and its entry.

    Raises:
        RuntimeRefused: there is none of that name, or its library cannot build it.
    """
    entry = next((entry for entry in zoo.entries() if entry.name == name), None)
    if entry is None:
        raise RuntimeRefused(f"no network {name} in the zoo")
    from stowplan_predictor.training.zoo import exports  # noqa: PLC0415 - the libraries take seconds to load, and blocks need none of them

    torch.manual_seed(_SEED)
    try:
        module, inputs, _ = exports.build(entry)
    except Exception as error:
        raise RuntimeRefused(f"{name}: {entry.library} cannot build it: {type(error).__name__}: {str(error)[:200]}") from error
    return module.eval(), inputs, entry


def block(specs: Sequence[KernelSpec]) -> tuple[Any, tuple[Any, ...]]:
    """A block of random kernels, and its inputs."""
    torch.manual_seed(_SEED)
    return RandomBlock(specs).eval(), tuple(torch.randn(_input_shape(spec)) for spec in specs)


def _input_shape(spec: KernelSpec) -> tuple[int, ...]:
    match spec.kind:
        case "conv" | "depthwise":
            batch, given, _, side, *_ = spec.sizes
            return batch, given, side, side
        case "linear":
            return spec.sizes[:2]
        case "bmm":
            return spec.sizes[:3]
        case _:
            return spec.sizes


def _weight_shape(spec: KernelSpec) -> tuple[int, ...] | None:
    match spec.kind:
        case "conv" | "depthwise":
            _, given, made, _, kernel, _, groups = spec.sizes
            return made, given // groups, kernel, kernel
        case "linear":
            _, given, made = spec.sizes
            return made, given
        case "bmm":
            batches, _, inner, columns = spec.sizes
            return batches, inner, columns
        case _:
            return None


def _computed(spec: KernelSpec, given: Any, weight: Any) -> Any:  # noqa: ANN401, PLR0911 - tensors; one line a kind
    match spec.kind:
        case "conv" | "depthwise":
            *_, kernel, stride, groups = spec.sizes
            return functional.conv2d(given, weight, stride=stride, padding=kernel // 2, groups=groups)
        case "linear":
            return functional.linear(given, weight)
        case "bmm":
            return torch.bmm(given, weight)
        case "softmax":
            return torch.softmax(given, -1)
        case "layer_norm":
            return functional.layer_norm(given, given.shape[-1:])
        case "mean":
            return given.mean(-1)
        case "pool":
            return functional.max_pool2d(given, 3, stride=2, padding=1)
        case "concat":
            return torch.cat([given, given * 2.0], 1)
        case _:
            return given


def _chained(value: Any, chain: Sequence[str]) -> Any:  # noqa: ANN401 - tensors
    for name in chain:
        match name:
            case "add":
                value = value + value.mean()
            case "mul":
                value = value * torch.sigmoid(value)
            case "scale":
                value = value * 0.5 + 1.0
            case _:
                value = getattr(functional, name)(value)
    return value

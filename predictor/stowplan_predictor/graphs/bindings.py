"""Bound inputs: the shapes that a model's inputs take in one request."""

from collections.abc import Mapping, Sequence

from onnx import TensorShapeProto, ValueInfoProto

from stowplan_predictor.errors import DimensionUnbound, ShapeRefused
from stowplan_predictor.graphs.attributes import check_names, clipped
from stowplan_predictor.graphs.facts import Fact, check_shape, check_type
from stowplan_predictor.graphs.limits import Limits

# Of a model's inputs, in an error.
_SHOWN_INPUTS = 16


def _shown(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)


def _example(name: str, dims: Sequence[TensorShapeProto.Dimension]) -> str:
    sizes = [str(d.dim_value) if d.HasField("dim_value") and d.dim_value >= 0 else "N" for d in dims[:16]]
    return f"`--shape {name}={'x'.join(sizes)}` or `inputShapes: {{{name}: [{', '.join(sizes)}]}}` with numbers for N"


def _check_request(input_shapes: Mapping[str, Sequence[int]], inputs: Sequence[ValueInfoProto]) -> None:
    known = [value.name for value in inputs]
    for name, shape in input_shapes.items():
        if name not in known:
            raise ShapeRefused(f"input shape of {clipped(name)}: the model has no such input; it has {', '.join(known[:_SHOWN_INPUTS]) or 'none'}")
        if any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in shape):
            raise ShapeRefused(f"input shape of {name!r}: {list(shape)!r} must be a list of integers that are not negative")


def _bind_shape(value: ValueInfoProto, wanted: Sequence[int], symbols: dict[str, tuple[int, str]]) -> None:
    """Check the wanted shape against the declared one and note what its symbols now stand for."""
    if not value.type.tensor_type.HasField("shape"):
        return
    dims = value.type.tensor_type.shape.dim
    if len(dims) != len(wanted):
        raise ShapeRefused(f"input shape of {value.name!r}: {_shown(wanted)} has {len(wanted)} dimensions, the model declares {len(dims)}")
    for position, (dim, size) in enumerate(zip(dims, wanted, strict=True)):
        # Old exporters wrote -1 (and PyTorch's first ones 0) for "any".
        if dim.HasField("dim_value") and dim.dim_value > 0 and dim.dim_value != size:
            raise ShapeRefused(f"input shape of {value.name!r}: dimension {position} is {size}, the model fixes it to {dim.dim_value}")
        if dim.dim_param:
            bound, by = symbols.setdefault(dim.dim_param, (size, value.name))
            if bound != size:
                symbol = clipped(dim.dim_param)
                raise ShapeRefused(f"input shape of {value.name!r}: dimension {position} ({symbol}) is {size}, but input {by!r} binds {symbol} to {bound}")


def _size(value: ValueInfoProto, position: int, symbols: Mapping[str, tuple[int, str]]) -> int:
    dims = value.type.tensor_type.shape.dim
    dim = dims[position]
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    if dim.dim_param in symbols:
        return symbols[dim.dim_param][0]
    called = f"{position} ({clipped(dim.dim_param)})" if dim.dim_param else str(position)
    raise DimensionUnbound(f"input {value.name!r}: dimension {called} is dynamic and has no value; bind it with {_example(value.name, dims)}")


def bind(inputs: Sequence[ValueInfoProto], input_shapes: Mapping[str, Sequence[int]], limits: Limits) -> list[Fact]:
    """The facts of a graph's inputs (initializers that are listed as inputs must not be among `inputs`).

    A symbolic dimension that one input shape binds is bound wherever its name appears.

    Raises:
        DimensionUnbound: a dynamic dimension has no value.
        ShapeRefused: an input shape contradicts the model or another one, or names no input.
        OperatorUnknown: an input's element type has no counting rule.

    """
    check_names((value.name for value in inputs), "graph inputs", limits)
    _check_request(input_shapes, inputs)
    symbols: dict[str, tuple[int, str]] = {}
    for value in inputs:
        if not value.type.HasField("tensor_type"):
            raise ShapeRefused(f"input {value.name!r}: not a tensor (a sequence, map or optional value); such inputs cannot be analysed")
        if value.name in input_shapes:
            _bind_shape(value, input_shapes[value.name], symbols)
    bound = []
    for value in inputs:
        where = f"input {value.name!r}"
        if value.name in input_shapes:
            sizes = tuple(input_shapes[value.name])
        elif not value.type.tensor_type.HasField("shape"):
            raise DimensionUnbound(
                f"{where}: not even the number of dimensions is declared; bind it with `--shape {value.name}=1x3x224x224` or "
                f"`inputShapes: {{{value.name}: [1, 3, 224, 224]}}` with the numbers of one request"
            )
        else:
            sizes = tuple(_size(value, position, symbols) for position in range(len(value.type.tensor_type.shape.dim)))
        bound.append(Fact(value.name, check_type(value.type.tensor_type.elem_type, where), check_shape(sizes, where, limits), False))
    return bound

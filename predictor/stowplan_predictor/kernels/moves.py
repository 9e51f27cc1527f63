"""Moves: how far apart in memory lies what an operator reads or writes in a row, from shapes and attributes."""

from math import prod

from stowplan_predictor.graphs.opgraphs import Operator

Shape = tuple[int, ...]


def integers(operator: Operator, name: str) -> tuple[int, ...]:
    """An attribute that is a list of integers; empty where it is absent."""
    value = operator.attributes.get(name)
    return tuple(item for item in value if isinstance(item, int)) if isinstance(value, tuple) else ()


def canonical_permutation(shape: Shape, permutation: Shape) -> tuple[Shape, Shape]:
    """Shape and permutation once dimensions of one element are dropped and those that stay neighbours are joined; () where nothing moves."""
    order = [axis for axis in permutation if shape[axis] != 1]
    pieces: list[list[int]] = []
    kept = [axis for axis in range(len(shape)) if shape[axis] != 1]
    place = {axis: index for index, axis in enumerate(kept)}
    for axis in order:
        if pieces and place[axis] == place[pieces[-1][-1]] + 1:
            pieces[-1].append(axis)
        else:
            pieces.append([axis])
    ranked = sorted(range(len(pieces)), key=lambda index: pieces[index][0])
    sizes = tuple(prod(shape[axis] for axis in pieces[index]) for index in ranked)
    if len(pieces) < 2:
        return (), ()
    return sizes, tuple(ranked.index(index) for index in range(len(pieces)))


def common_run(output: Shape, other: Shape) -> int:
    """Elements of a broadcast that need no jump: trailing dimensions along which the other operand is either there throughout or absent throughout."""
    padded = (1,) * (len(output) - len(other)) + other
    run, present = 1, None
    for size, own in zip(reversed(output), reversed(padded), strict=False):
        if size == 1:
            continue
        if present is not None and present != (own == size):
            break
        present, run = own == size, run * size
    return run


def _piece(whole: Shape, part: Shape) -> int:
    """Elements that a cut or a frame leaves together."""
    run = 1
    for large, small in zip(reversed(whole), reversed(part), strict=False):
        run *= min(large, small)
        if large != small:
            break
    return run


def permuted(shape: Shape, permutation: Shape) -> tuple[int, int]:
    """Shortest run, and axes that are permuted."""
    sizes, moved = canonical_permutation(shape, permutation)
    return (max(1, prod(shape)), 1) if not moved else (sizes[-1] if moved[-1] == len(moved) - 1 else 1, len(moved))


def moves(operator: Operator, source: Shape, output: Shape, shapes: tuple[Shape, ...]) -> tuple[int, int]:
    """Shortest run, and permuted axes."""
    everything = max(1, prod(output))
    if operator.op_type == "Transpose":
        permutation = integers(operator, "perm") or tuple(reversed(range(len(source))))
        return permuted(source, permutation) if len(permutation) == len(source) else (everything, 1)
    if operator.op_type == "Gather":
        axis = operator.attributes.get("axis", 0)
        return (max(1, prod(source[axis % len(source) + 1 :])) if isinstance(axis, int) and source else everything), 1
    if operator.op_type in ("Slice", "Pad", "Split"):
        return max(1, _piece(source, output)), 1
    others = [shape for shape in shapes if len(shape) <= len(output)]
    if len(others) > 1 and "Conv" not in operator.op_type and operator.op_type not in ("MatMul", "Gemm", "Concat", "Gather"):
        return max(1, min(common_run(output, shape) for shape in others)), 1
    return everything, 1

"""Layouts: which convolutions ONNX Runtime runs on channel blocks (NCHWc), and which additions and activations melt into them there.

NchwcTransformer rewrites what it can and leaves the rest in NCHW; a residual addition melts only where both of its inputs are blocked, else
ConvAddActivationFusion may take it. Rules re-told from `nchwc_transformer.cc` and `conv_add_act_fusion.cc` (ONNX Runtime, MIT).
"""

from collections.abc import Collection
from typing import Final

from stowplan_predictor.fusion import rule_tables
from stowplan_predictor.fusion.flows import Flow, Group
from stowplan_predictor.graphs.opgraphs import Operator

# Channels in a block where the machine has AVX-512, and where it has not (MlasNchwcGetBlockSize on x86).
CHANNEL_BLOCK: Final = 16
_NARROW_BLOCK: Final = 8
# Reorders between the layouts move channels in fours: a convolution of other counts stays in NCHW.
_ALIGNMENT: Final = 4

_POOLS: Final = frozenset({"MaxPool", "AveragePool"})
_GLOBAL_POOLS: Final = frozenset({"GlobalMaxPool", "GlobalAveragePool"})
_POINTWISE: Final = frozenset({"Add", "Sum", "Mul"})
# Patterns of one input that run on blocks where it is blocked.
_BLOCKED_PATTERNS: Final = frozenset({"QuickGelu", "Gelu"})


def channel_block(isa: Collection[str]) -> int:
    """Channels in a block on a machine with those instruction-set extensions, in Linux' spelling."""
    return CHANNEL_BLOCK if "avx512f" in isa else _NARROW_BLOCK


def fuse_blocked(flow: Flow, channel_block: int = CHANNEL_BLOCK) -> None:
    """Melts residual additions and late activations into convolutions, as the layout optimizer and its successor do."""
    blocked: set[str] = set()
    for op in list(flow.operators()):
        group = flow.groups[op.index]
        if op.op_type == "Conv" and op.index == group.anchor:
            if blockable(flow, op, channel_block):
                blocked.add(group.end)
        elif op.op_type in _POINTWISE and flow.single(op):
            _pointwise(flow, op, blocked)
        elif op.op_type in rule_tables.NCHWC_ACTIVATIONS and flow.single(op):
            _activation(flow, op, blocked)
        elif group.type in _BLOCKED_PATTERNS and op.index == group.members[-1]:
            if _reads_blocked(flow, group, blocked):
                blocked.add(group.end)
        elif _stays_blocked(flow, op, blocked, channel_block):
            blocked.add(op.outputs[0])
    _fuse_unblocked(flow, blocked)


def _stays_blocked(flow: Flow, op: Operator, blocked: set[str], channel_block: int) -> bool:
    """True for pools over whole blocks, and for what hands on blocks: a batch normalization, a concatenation of whole blocks, an enlargement by copying."""
    shape, inputs = flow.shape(op.outputs[0]), flow.inputs(op)
    if op.op_type in _POOLS or (op.op_type in _GLOBAL_POOLS and inputs[0] in blocked):
        return len(shape) == 4 and shape[1] % channel_block == 0 and not any(op.outputs[1:])
    if op.op_type in {"Resize", "Upsample"}:
        return inputs[0] in blocked and _copies(flow, op)
    if op.op_type == "BatchNormalization":
        return flow.single(op) and inputs[0] in blocked and len(shape) == 4 and all(flow.parameter(name) for name in inputs[1:])
    if op.op_type == "Concat" and op.attributes.get("axis") == 1:
        return all(name in blocked and flow.shape(name)[1] % channel_block == 0 for name in inputs)
    return False


def _copies(flow: Flow, op: Operator) -> bool:
    """True for an enlargement in height and width by whole factors that repeats elements (mode nearest, asymmetric, floor)."""
    before, after = flow.shape(flow.inputs(op)[0]), flow.shape(op.outputs[0])
    wanted = {"mode": ("nearest", "nearest"), "coordinate_transformation_mode": ("half_pixel", "asymmetric"), "nearest_mode": ("round_prefer_floor", "floor")}
    if op.op_type == "Upsample":
        wanted = {"mode": ("nearest", "nearest")}
    elif len(op.inputs) != 3:  # a fourth input holds sizes instead of factors
        return False
    plain = all(op.attributes.get(name, default) == value for name, (default, value) in wanted.items())
    return plain and len(before) == 4 and before[:2] == after[:2] and all(new % old == 0 for old, new in zip(before[2:], after[2:], strict=True))


def _reads_blocked(flow: Flow, group: Group, blocked: set[str]) -> bool:
    names = {name for index in group.members for name in flow.activations(flow.graph.operators[index])}
    return all(name in blocked for name in names if flow.groups.get(flow.producer_index(name)) is not group)


def blockable(flow: Flow, op: Operator, channel_block: int) -> bool:
    """True where the runtime runs a convolution on channel blocks."""
    if len(op.inputs) < 2 or not flow.parameter(flow.resolve(op.inputs[1])):
        return False
    weight = flow.graph.tensors[flow.resolve(op.inputs[1])]
    if weight.dtype != "float32" or len(weight.shape) != 4:
        return False
    groups = op.attributes.get("group", 1)
    outputs, inputs_per_group = weight.shape[:2]
    if not isinstance(groups, int) or groups == 1:
        return inputs_per_group < channel_block or inputs_per_group % _ALIGNMENT == 0
    if inputs_per_group == 1 and outputs == groups:
        return outputs % _ALIGNMENT == 0
    return inputs_per_group % channel_block == 0 and (outputs // groups) % channel_block == 0


def _pointwise(flow: Flow, op: Operator, blocked: set[str]) -> None:
    inputs = flow.inputs(op)
    if is_scale(flow, op) and flow.activations(op)[0] in blocked:
        blocked.add(op.outputs[0])
        return
    if len(inputs) < 2 or any(name not in blocked for name in inputs) or len({flow.shape(name) for name in inputs}) != 1:
        return
    if op.op_type != "Mul" and len(inputs) == 2:
        for name in inputs:
            group = flow.group_of(name)
            if group is not None and _takes_residual(flow, group, name):
                flow.join(group, op)
                group.residual = True
                break
    blocked.add(op.outputs[0])


def is_scale(flow: Flow, op: Operator) -> bool:
    """True for a product with one parameter a channel: on blocks, a convolution of its own."""
    activations, shape = flow.activations(op), flow.shape(op.outputs[0])
    if op.op_type != "Mul" or len(flow.inputs(op)) != 2 or len(activations) != 1 or len(shape) != 4:
        return False
    (constant,) = (flow.shape(name) for name in flow.inputs(op) if flow.parameter(name))
    return flow.shape(activations[0]) == shape and (1,) * (4 - len(constant)) + constant == (1, shape[1], 1, 1)


def _takes_residual(flow: Flow, group: Group, name: str) -> bool:
    anchor = flow.graph.operators[group.anchor]
    return _convolves(flow, anchor) and flow.private(name) and not group.activated and not group.residual


def _convolves(flow: Flow, anchor: Operator) -> bool:
    """True for what runs as a convolution on blocks."""
    return anchor.op_type in {"Conv", "BatchNormalization"} or is_scale(flow, anchor)


def _activation(flow: Flow, op: Operator, blocked: set[str]) -> None:
    name = flow.inputs(op)[0]
    if name not in blocked:
        return
    group = flow.group_of(name)
    if group is not None and _convolves(flow, flow.graph.operators[group.anchor]) and flow.private(name) and not group.activated:
        flow.join(group, op)
        group.activated = True
    blocked.add(op.outputs[0])


def _fuse_unblocked(flow: Flow, blocked: set[str]) -> None:
    """ConvAddActivationFusion: a convolution left in NCHW, with a bias, takes an addition of equal shapes and what follows."""
    for op in list(flow.operators()):
        inputs = flow.inputs(op)
        if op.op_type != "Add" or not flow.single(op) or len(inputs) != 2 or flow.shape(inputs[0]) != flow.shape(inputs[1]) or len(flow.shape(inputs[0])) != 4:
            continue
        for name in inputs:
            group = flow.group_of(name)
            if group is None or name in blocked:
                continue
            anchor = flow.graph.operators[group.anchor]
            if anchor.op_type != "Conv" or not _takes_residual(flow, group, name) or not _biased(flow, group, anchor):
                continue
            flow.join(group, op)
            group.residual = True
            follower = _sole_reader(flow, group.end)
            if follower is not None and follower.op_type in rule_tables.CONV_ACTIVATIONS - {"HardSwish"} and flow.single(follower):
                flow.join(group, follower)
                group.activated = True
            break


def _biased(flow: Flow, group: Group, anchor: Operator) -> bool:
    folded = {flow.graph.operators[index].op_type for index in group.members if index in flow.folded}
    return len(flow.inputs(anchor)) >= 3 or bool(folded & {"BatchNormalization", "Add"})


def _sole_reader(flow: Flow, name: str) -> Operator | None:
    return flow.graph.operators[flow.readers[name][0]] if flow.private(name) else None

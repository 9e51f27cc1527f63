"""Chains: operators that join the kernel that feeds them, or the one they feed, one at a time.

Each function is one of ONNX Runtime's graph transformers; `rules` calls them in the runtime's order.
"""

from stowplan_predictor.fusion import layouts, rule_tables
from stowplan_predictor.fusion.flows import Flow, Group
from stowplan_predictor.graphs.opgraphs import Operator


def fold_into_convolutions(flow: Flow) -> None:
    """ConvBNFusion, ConvMulFusion, ConvAddFusion: constants per channel melt into the weights. PadFusion: a constant zero pad melts into a convolution."""
    for op in flow.operators():
        if op.op_type == "Pad":
            _fold_pad(flow, op)
        if op.op_type not in rule_tables.CONV_FOLDED:
            continue
        activations = flow.activations(op)
        if len(activations) != 1 or (op.op_type == "BatchNormalization" and flow.inputs(op)[0] != activations[0]):
            continue
        name = activations[0]
        group = flow.group_of(name)
        if group is None or group.activated or not flow.private(name):
            continue
        anchor = flow.graph.operators[group.anchor]
        if anchor.op_type != "Conv" or not all(flow.parameter(item) for item in flow.inputs(anchor)[1:]):
            continue
        if op.op_type == "BatchNormalization" or _per_channel(flow, op, name):
            flow.join(group, op)
            flow.folded.add(op.index)


def _per_channel(flow: Flow, op: Operator, name: str) -> bool:
    shape = flow.shape(name)
    (constant,) = (item for item in flow.inputs(op) if item != name) if len(flow.inputs(op)) == 2 else ("",)
    if not constant or flow.shape(op.outputs[0]) != shape:
        return False
    if flow.graph.tensors[constant].elements == 1:
        return op.op_type == "Mul"
    given = flow.shape(constant)
    padded = (1,) * (len(shape) - len(given)) + given
    return padded == (1, shape[1], *(1 for _ in shape[2:]))


def _fold_pad(flow: Flow, op: Operator) -> None:
    # PadFusion wants the value it pads with as a constant, or not mentioned at all: an empty name (as torch exports it) is neither.
    if op.attributes.get("mode", "constant") != "constant" or not flow.private(op.outputs[0]) or (len(op.inputs) > 2 and not op.inputs[2]):
        return
    shapes = flow.shape(flow.inputs(op)[0]), flow.shape(op.outputs[0])
    reader = flow.graph.operators[flow.readers[op.outputs[0]][0]]
    if reader.op_type in {"Conv", "MaxPool"} and flow.inputs(reader)[0] == op.outputs[0] and shapes[0][:2] == shapes[1][:2] and flow.single(op):
        flow.absorb(flow.groups[reader.index], op)
        flow.folded.add(op.index)


def activate(flow: Flow, channel_block: int) -> None:
    """GemmActivationFusion and ConvActivationFusion; HardSwish is an activation of the blocked layout only."""
    for op in flow.operators():
        if op.op_type not in rule_tables.CONV_ACTIVATIONS or not flow.single(op):
            continue
        name = flow.inputs(op)[0]
        group = flow.group_of(name)
        if group is None or group.activated or not flow.private(name) or len(flow.activations(op)) != 1:
            continue
        anchor = flow.graph.operators[group.anchor]
        flat_gemm = anchor.op_type == "Gemm" or (group.type == "Gemm" and len(flow.shape(name)) == 2)
        if op.op_type == "HardSwish" and not (anchor.op_type == "Conv" and layouts.blockable(flow, anchor, channel_block)):
            continue
        if anchor.op_type == "Conv" or (flat_gemm and op.op_type in rule_tables.GEMM_ACTIVATIONS):
            flow.join(group, op)
            group.activated = True


def skip_into_normalizations(flow: Flow) -> None:
    """SkipLayerNormFusion: an addition (and a bias added before it) that only a layer normalization reads. BiasGeluFusion: likewise a bias before a Gelu."""
    for op in flow.operators():
        group = flow.groups[op.index]
        if op.index != group.members[0]:
            continue
        if op.op_type == "LayerNormalization" or group.type == "LayerNormalization":
            _absorb_skip(flow, group, flow.activations(op)[0])
        elif group.type in rule_tables.BIASED_PATTERNS:
            _absorb_bias(flow, group, flow.activations(op)[0])


def _absorb_skip(flow: Flow, group: Group, name: str) -> None:
    addition = flow.producer(name)
    if addition is None or addition.op_type != "Add" or not flow.single(addition) or not _all_inside(flow, group, name):
        return
    inputs = flow.inputs(addition)
    if len(inputs) != 2 or flow.shape(inputs[0]) != flow.shape(inputs[1]) or len(flow.shape(name)) != 3:
        return
    flow.absorb(group, addition)
    for item in inputs:
        if _absorb_bias(flow, group, item):
            break


def _absorb_bias(flow: Flow, group: Group, name: str) -> bool:
    addition = flow.producer(name)
    if addition is None or addition.op_type != "Add" or not flow.single(addition) or not _all_inside(flow, group, name):
        return False
    constants = [item for item in flow.inputs(addition) if flow.parameter(item)]
    if len(constants) != 1 or flow.shape(constants[0]) != flow.shape(name)[-1:]:
        return False
    flow.absorb(group, addition)
    return True


def _all_inside(flow: Flow, group: Group, name: str) -> bool:
    return name not in flow.outputs and all(flow.groups[index] is group for index in flow.readers[name])


def split_siblings(flow: Flow) -> None:
    """GatherSliceToSplitFusion: slices (or single gathers) that cut one tensor into disjoint parts along one axis are one Split.

    The tensor must be the only result of its producer; where its reach is not a constant in the file (unknown here), the runtime leaves a slice alone.
    """
    for name, readers in list(flow.readers.items()):
        cuts = [op for index in readers if (op := flow.graph.operators[index]).op_type in {"Slice", "Gather"} and flow.inputs(op)[0] == name]
        producer = flow.producer(name)
        if len(cuts) < 2 or flow.parameter(name) or (producer is not None and len(producer.outputs) > 1) or not all(flow.single(op) for op in cuts):
            continue
        whole = flow.shape(name)
        parts = [_cut(flow, op, whole) for op in cuts]
        known = [part for part in parts if part is not None]
        if len(known) != len(parts) or len({axis for axis, _ in known}) != 1 or sum(kept for _, kept in known) != whole[known[0][0]]:
            continue
        group = flow.groups[cuts[0].index]
        group.type = "Split"
        for op in cuts[1:]:
            flow.join(group, op)
        group.end = ""


def _cut(flow: Flow, op: Operator, whole: tuple[int, ...]) -> tuple[int, int] | None:
    """Axis along which an operator cuts `whole`, and how many entries it keeps."""
    part = flow.shape(op.outputs[0])
    if len(flow.activations(op)) != 1:
        return None
    if op.op_type == "Gather":
        axis = op.attributes.get("axis", 0)
        if not isinstance(axis, int) or len(op.inputs) < 2 or flow.graph.tensors[flow.resolve(op.inputs[1])].elements != 1:
            return None
        return axis % len(whole), 1
    differing = [index for index, (old, new) in enumerate(zip(whole, part, strict=False)) if old != new]
    return (differing[0], part[differing[0]]) if len(differing) == 1 and len(part) == len(whole) else None

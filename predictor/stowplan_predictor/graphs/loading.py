"""Loading: ONNX files to operator graphs. The file is hostile until proved otherwise: whatever is wrong with it becomes a named error."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from stowplan_predictor.errors import ModelUnreadable, ShapeRefused
from stowplan_predictor.graphs import costs, strippings
from stowplan_predictor.graphs.attributes import check_names, plain
from stowplan_predictor.graphs.bindings import bind
from stowplan_predictor.graphs.facts import Fact
from stowplan_predictor.graphs.limits import DEFAULT_LIMITS, Limits
from stowplan_predictor.graphs.opgraphs import Operator, OpGraph, Tensor
from stowplan_predictor.graphs.walks import Step, Walk, normalised
from stowplan_predictor.graphs.workloads import Workload


def model_digest(onnx_model: bytes | memoryview) -> str:
    """`sha256:<hex>` of the file as it is."""
    return "sha256:" + hashlib.sha256(onnx_model).hexdigest()


def load_graph(
    onnx_model: bytes | memoryview, input_shapes: Mapping[str, tuple[int, ...]] | None = None, model_dir: Path | None = None, limits: Limits = DEFAULT_LIMITS
) -> OpGraph:
    """The operator graph of an ONNX file, with every shape bound.

    Args:
        onnx_model: the bytes of the file.
        input_shapes: shapes of named inputs; needed where the model leaves dimensions open.
        model_dir: where external data may lie; None where there is only the file. Nothing outside it is read.
        limits: what is accepted.

    Raises:
        ModelUnreadable: not ONNX, truncated, or not a graph (cycles, names written twice or never).
        ExternalDataMissing: a shape depends on external data that is not there.
        DimensionUnbound: an input has a dynamic dimension without a value.
        OperatorUnknown: an operator has no counting rule.
        ShapeRefused: shapes contradict each other, depend on data, or are absurdly large.
        GraphTooLarge: more bytes or nodes than `limits` allow.

    """
    structure = strippings.strip(onnx_model, limits)
    try:
        return _analyse(onnx.ModelProto.FromString(structure), input_shapes or {}, model_dir, limits)
    except DecodeError as error:
        raise ModelUnreadable(f"model file: not ONNX or damaged ({error}); export it again") from error


def _analyse(model: onnx.ModelProto, input_shapes: Mapping[str, tuple[int, ...]], model_dir: Path | None, limits: Limits) -> OpGraph:
    if not model.HasField("graph") or not model.opset_import:
        raise ModelUnreadable("model file: it holds no graph or names no opset, so it is not an ONNX model; export it again")
    check_names((opset.domain for opset in model.opset_import), "opset imports", limits)
    opsets = {normalised(opset.domain): opset.version for opset in model.opset_import}
    newest = onnx.defs.onnx_opset_version()
    if opsets.get("", 1) > newest:
        raise ModelUnreadable(f"model file: opset {opsets['']} is newer than {newest}, the newest that is known here; export it with an older opset")
    stored = {tensor.name for tensor in model.graph.initializer} | {tensor.values.name for tensor in model.graph.sparse_initializer}
    inputs = bind([value for value in model.graph.input if value.name not in stored], input_shapes, limits)
    functions = {(normalised(f.domain), f.name, f.overload): f for f in model.functions}
    walk = Walk(functions, limits, model_dir)
    outputs = walk.graph(model.graph, inputs, opsets)
    return _assembled(inputs, _live(walk.steps, outputs), outputs, limits)


def _live(steps: Sequence[Step], outputs: Iterable[Fact]) -> list[Step]:
    """Steps that still have a reader once constants are folded (one that only fed a Shape has none)."""
    wanted = {fact.name for fact in outputs}
    kept = []
    for step in reversed(steps):
        if any(fact is not None and fact.name in wanted for fact in step.outputs):
            kept.append(step)
            wanted.update(fact.name for fact in step.inputs if fact is not None)
    return kept[::-1]


def _assembled(inputs: Sequence[Fact], steps: Sequence[Step], outputs: Sequence[Fact], limits: Limits) -> OpGraph:
    read = {fact.name for step in steps for fact in step.inputs if fact is not None} | {fact.name for fact in outputs}
    tensors: dict[str, Tensor] = {}

    def seen(fact: Fact | None) -> Tensor | None:
        if fact is None:
            return None
        return tensors.get(fact.name) or tensors.setdefault(fact.name, fact.tensor())

    for bound in inputs:
        seen(bound)
    operators = []
    for index, step in enumerate(steps):
        written = tuple(None if fact is None else fact.tensor() for fact in step.outputs)
        unread = frozenset(tensor.name for tensor in written if tensor is not None and tensor.name not in read)
        work = Workload(step.where, step.node.op_type, tuple(map(seen, step.inputs)), written, plain(step.node.attribute))
        cost = costs.count(step.node.domain, work, unread)
        names = tuple("" if fact is None or fact.name in unread else fact.name for fact in step.outputs)
        for fact in step.outputs:
            if fact is not None and fact.name not in unread:
                seen(fact)
        operators.append(
            Operator(
                index=index,
                name=step.node.name or f"{step.node.op_type}_{index}",
                op_type=step.node.op_type,
                domain=step.node.domain,
                inputs=tuple("" if fact is None else fact.name for fact in step.inputs),
                outputs=names,
                attributes=work.attributes,
                flops=cost.flops,
                input_bytes=cost.input_bytes,
                output_bytes=cost.output_bytes,
                parameter_bytes=cost.parameter_bytes,
            )
        )
    parameters = [tensor for tensor in tensors.values() if tensor.parameter]
    for result in outputs:
        seen(result)
    graph = OpGraph(
        operators=tuple(operators),
        tensors=tensors,
        inputs=tuple(fact.name for fact in inputs),
        outputs=tuple(fact.name for fact in outputs),
        parameters=sum(tensor.elements for tensor in parameters),
        parameter_bytes=sum(tensor.bytes for tensor in parameters),
    )
    if graph.flops > limits.max_flops:
        raise ShapeRefused(f"model: {graph.flops:.3g} floating-point operations for one inference, more than {limits.max_flops:.3g}; bind smaller input shapes")
    return graph

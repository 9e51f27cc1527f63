"""Costs of one operator: FLOPs by rule, bytes by the tensors it touches."""

from dataclasses import dataclass

from stowplan_predictor.errors import OperatorUnknown
from stowplan_predictor.graphs import linear_flops, pointwise_flops
from stowplan_predictor.graphs.workloads import Rule, Workload

# By (domain, operator type).
RULES: dict[tuple[str, str], Rule] = {
    **{("", op): rule for op, rule in {**pointwise_flops.RULES, **linear_flops.RULES}.items()},
    **{("com.microsoft", op): rule for op, rule in {**pointwise_flops.FUSED_RULES, **linear_flops.FUSED_RULES}.items()},
}
# They read the elements they pick from their first input, not all of it.
_PICKING = frozenset({"Gather", "GatherElements", "GatherND", "Slice", "Compress"})


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of an operator takes."""

    flops: int
    input_bytes: int
    output_bytes: int
    parameter_bytes: int


def count(domain: str, work: Workload, unread_outputs: frozenset[str]) -> Cost:
    """Count one operator. A tensor that is read twice is counted once, an output that nobody reads is not counted.

    Raises:
        OperatorUnknown: there is no rule for the operator.

    """
    rule = RULES.get((domain, work.op_type))
    if rule is None:
        raise OperatorUnknown(f"{work.where}: operator {work.op_type!r} of domain {domain or 'ai.onnx'!r} has no counting rule; replace it, or ask for a rule")
    outputs = [tensor for tensor in work.outputs if tensor is not None]
    read = {tensor.name: (tensor.bytes, tensor.parameter) for tensor in work.inputs if tensor is not None}
    first = work.inputs[0] if work.inputs else None
    if first is not None and outputs and work.op_type in _PICKING:
        read[first.name] = (min(first.bytes, outputs[0].bytes), first.parameter)
    return Cost(
        flops=rule(work),
        input_bytes=sum(size for size, parameter in read.values() if not parameter),
        output_bytes=sum(tensor.bytes for tensor in outputs if tensor.name not in unread_outputs),
        parameter_bytes=sum(size for size, parameter in read.values() if parameter),
    )

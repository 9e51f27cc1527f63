"""Operators of real records as tasks: what torch 2.13 and its compiler wrote on a CPU (`*_on_cpu.json`), read as the trainer reads a campaign's tables.

The durations here are made up: a CPU's would say nothing about a GPU.
"""

import json
from pathlib import Path

import pytest
from onnx import helper
from stowplan_predictor.gpus.tasks import COLUMNS
from stowplan_predictor.training.cuda import provenances, traces
from stowplan_predictor.training.cuda.plans import EAGER, INDUCTOR
from stowplan_predictor.training.cuda.provenances import GRAPH_ARTIFACT, MAPPING_ARTIFACT
from stowplan_predictor.training.cuda.rows import KernelRow, NodeRow
from stowplan_predictor.training.cuda.tables import GpuDataset
from stowplan_predictor.training.gpubundles import networks, operators
from stowplan_predictor.training.gpubundles.kernels import Kernels, kernels_of
from stowplan_predictor.training.gpubundles.operators import Call
from support import synthetic_campaigns as made
from support.onnx_models import model, zeros

HERE = Path(__file__).parent
NETWORK = made.networks(1, 1)[0]


def dataset(runtime: str, kernels: list[KernelRow], nodes: list[NodeRow]) -> GpuDataset:
    """Those rows of one unit."""
    found = GpuDataset(HERE, made.PRODUCT)
    found.rows["networks"].append(made.network_row("u", NETWORK, runtime, "full", 1.0))
    found.rows["kernels"] += kernels
    found.rows["nodes"] += nodes
    return found


def numbers(found: Kernels, row: int) -> dict[str, float]:
    """By name."""
    return dict(zip(COLUMNS, found.tasks.numbers[row].tolist(), strict=True))


def test_the_compilers_own_graph_gives_sizes_and_strides() -> None:
    """A convolution and a linear layer by the library; what the compiler generated for the convolution's layout is no convolution, fused ones are no task."""
    recorded = {item["what"]: dict(item["artifacts"]) for item in json.loads((HERE / "inductor_on_cpu.json").read_text())["recorded"]}["network"]
    truth = provenances.graph_truth(recorded[GRAPH_ARTIFACT], json.loads(recorded[MAPPING_ARTIFACT]))
    nodes = [NodeRow("u", NETWORK.name, 0, node.name, node.target, node.inputs, node.shape, node.dtype, node.arguments) for node in truth.nodes.values()]
    kernels = [
        KernelRow("u", NETWORK.name, INDUCTOR, 0, kernel.position, kernel.name, "library" if kernel.is_library else "compiler", truth.operators_of(kernel),
                  kernel.nodes, "", (), 1000.0 * kernel.position, None, None, 1)
        for kernel in truth.kernels
    ]  # fmt: skip
    found = kernels_of(dataset(INDUCTOR, kernels, nodes), INDUCTOR)

    assert [kernel.name for kernel in truth.kernels if truth.operators_of(kernel) == ("aten.convolution.default",)] == [
        "cpp_fused_convolution_0",
        "extern_kernels.convolution",
    ]
    assert found.tasks.kinds == ("conv", "linear")
    assert found.latency_ms.tolist() == [2.0, 4.0]
    # 2 x 8 x 16 x 16 in, sixteen channels out, 3 x 3 with padding.
    assert numbers(found, 0) == {
        "batch": 1,
        "m": 2 * 16 * 16,
        "n": 16,
        "k": 72,
        "width": 16,
        "flops": 2 * 512 * 16 * 72,
        "bytes": 4 * (4096 + 16 * 72 + 512 * 16),
    }
    assert numbers(found, 1)["flops"] == 2 * 2 * 16 * 10


def test_the_profilers_record_gives_sizes_and_strides() -> None:
    """A convolution with stride two goes as the product that it is, and says that no such form was measured; an activation as one."""
    run = traces.profiled_runs(json.loads((HERE / "profiler_on_cpu.json").read_text())["traceEvents"])[0]
    kernels = [
        KernelRow("u", NETWORK.name, EAGER, 0, position, caller.name, "library", (caller.name,), (), caller.shapes, (), 5.0, None, None, 1)
        for position, caller in enumerate(run.callers)
    ]
    found = kernels_of(dataset(EAGER, kernels, []), EAGER)

    assert found.tasks.kinds == ("linear", "relu")
    assert found.tasks.measured.tolist() == [False, True]
    assert (numbers(found, 0)["m"], numbers(found, 0)["n"], numbers(found, 0)["k"]) == (16, 4, 27)
    assert numbers(found, 1)["flops"] == 64


@pytest.mark.parametrize(
    ("call", "file"),
    [
        (Call("linear", ((64, 128), (256, 128), (256,)), ()), ("MatMul", {}, {"w": (128, 256)}, (64, 128))),
        (Call("relu", ((64, 128),), ()), ("Relu", {}, {}, (64, 128))),
        (Call("softmax", ((8, 64, 128),), ("-1",)), ("Softmax", {"axis": -1}, {}, (8, 64, 128))),
        (Call("tanh", ((8, 64, 128),), ()), ("Tanh", {}, {}, (8, 64, 128))),
        (
            Call("conv2d", ((2, 8, 16, 16), (4, 8, 3, 3)), ("[1, 1]", "[1, 1]", "[1, 1]", "1")),
            ("Conv", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, {"w": (4, 8, 3, 3)}, (2, 8, 16, 16)),
        ),
        (
            Call("conv2d", ((2, 8, 16, 16), (4, 8, 1, 1)), ("[2, 2]", "[0, 0]", "[1, 1]", "1")),
            ("Conv", {"kernel_shape": [1, 1], "strides": [2, 2]}, {"w": (4, 8, 1, 1)}, (2, 8, 16, 16)),
        ),
    ],
)  # fmt: skip
def test_an_operator_is_the_same_task_whether_measured_or_asked_for(
    call: Call, file: tuple[str, dict[str, object], dict[str, tuple[int, ...]], tuple[int, ...]]
) -> None:
    """What the profiler tells of a kernel, and what the served code makes of the same operator in an ONNX file, are one task with the same numbers."""
    op_type, attributes, weights, shape = file
    content = model(
        [helper.make_node(op_type, ["x", *weights], ["y"], **attributes)], {"x": shape}, constants={name: zeros(*size) for name, size in weights.items()}
    )
    served = networks.from_onnx(bytes(content.SerializeToString())).tasks
    measured = operators.task_of(call)

    assert measured is not None
    assert served.kinds == (measured.kind,)
    assert served.measured.tolist() == [measured.measured]
    assert served.numbers[0].tolist() == pytest.approx(measured.numbers), dict(zip(COLUMNS, served.numbers[0], strict=True))


@pytest.mark.parametrize(
    "call",
    [
        Call("conv2d", ((1, 8, 8, 8), (8, 1, 3, 3)), ("[1, 1]", "[1, 1]", "[1, 1]", "8")),
        Call("convolution", ((1, 8, 8, 8), (8, 8, 3, 3)), ("[1, 1]", "[1, 1]", "[1, 1]", "True", "[0, 0]", "1")),
        Call("conv2d", ((1, 8, 8, 8), (8, 8, 3, 3)), ()),
        Call("add", ((8, 8), (8,)), ("1",)),
        Call("softmax", ((8, 8, 8),), ("1",)),
        Call("layer_norm", ((8, 4, 8),), ("[4, 8]",)),
        Call("matmul", ((8, 4, 8), (1, 8, 4)), ()),
        Call("relu", ((0, 8),), ()),
        Call("upsample_nearest2d", ((1, 8, 8, 8),), ()),
    ],
)
def test_what_is_no_measured_form_is_no_task(call: Call) -> None:
    """Grouped, transposed and unrecorded convolutions, broadcasts, other axes, nothing to do, and operators without a model."""
    assert operators.task_of(call) is None


def test_names_lose_what_says_nothing_about_the_work() -> None:
    """Namespace, overload, in place, private."""
    names = ("aten::add_", "aten.add.Tensor", "aten::_softmax", "aten.native_layer_norm.default", "aten::conv2d")
    assert [operators.plain(name) for name in names] == ["add", "add", "softmax", "native_layer_norm", "conv2d"]

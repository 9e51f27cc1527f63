"""Small graphs with known work, run through ONNX Runtime: what the runtime reaches, not what a data sheet says."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

# A product of 1024 x 1024 matrices (12 MiB together) keeps the arithmetic units busy out of the caches: 25 ms on one core of 2023.
_MATRIX: Final = 1024
_OPSET: Final = 17
_LONG_CHAIN: Final = 400


def _session(nodes: Sequence[onnx.NodeProto], shape: Sequence[int], constants: Mapping[str, Any], threads: int, *, pooled: bool = False) -> Any:  # noqa: ANN401
    graph = helper.make_graph(
        list(nodes),
        "probe",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = 9
    options = onnxruntime.SessionOptions()
    if pooled:
        options.use_per_session_threads = False
    else:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Chains of equal operators would be folded away; the kernels are the same without the optimiser.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _median_s(session: Any, feeds: Mapping[str, Any], runs: int) -> float:  # noqa: ANN401
    """Median duration of a run, after two that do not count."""
    durations = []
    for run in range(runs + 2):
        started = time.perf_counter()
        session.run(None, feeds)
        if run >= 2:
            durations.append(time.perf_counter() - started)
    return float(np.median(durations))


class MatrixProduct:
    """Single-precision matrix products on a number of cores."""

    def __init__(self, cores: int, side: int = _MATRIX, *, pooled: bool = False) -> None:
        """On threads of its own or, `pooled`, on those of this process, where it has such."""
        self._side = side
        weight = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
        self._feeds = {"input": weight.T.copy()}
        self._session = _session([helper.make_node("MatMul", ["input", "weight"], ["product"])], weight.shape, {"weight": weight}, cores, pooled=pooled)

    def flops_per_second(self) -> float:
        """Multiplications and additions a second."""
        return 2.0 * self._side**3 / self.seconds(30)

    def seconds(self, runs: int) -> float:
        """Median duration of a product."""
        return _median_s(self._session, self._feeds, runs)


class Additions:
    """Additions of a constant over more data than the last cache holds."""

    def __init__(self, cores: int, l3_bytes: int) -> None:
        # Four times the last cache, and at least 64 MiB: what fits would measure the cache.
        elements = max(4 * l3_bytes, 64 << 20) // 4
        self._bytes = elements * 4
        self._feeds = {"input": np.ones(elements, np.float32)}
        self._sessions = [self._chain(length, elements, cores) for length in (2, 6)]

    @staticmethod
    def _chain(length: int, elements: int, cores: int) -> Any:  # noqa: ANN401
        nodes = [helper.make_node("Add", ["input" if i == 0 else f"sum{i - 1}", "one"], [f"sum{i}"]) for i in range(length)]
        # The last tensor leaves the runtime; a maximum over it keeps that copy from counting.
        nodes.append(helper.make_node("ReduceMax", [f"sum{length - 1}"], ["most"], keepdims=0))
        return _session(nodes, [elements], {"one": np.array(1, np.float32)}, cores)

    def bytes_per_second(self) -> float:
        """Bytes read and written a second: an addition reads each element once and writes it once.

        Taken from the difference between a chain of six and one of two, so that entry, exit and first touch drop out.
        """
        short, long = (_median_s(session, self._feeds, 3) for session in self._sessions)
        return 2.0 * self._bytes * 4 / max(long - short, 1e-9)


_SMALL: Final = (1, 4, 4, 4)
# How to write one tiny node of a type: extra inputs (constants) and attributes. Types that keep the shape, so that they can be chained.
DISPATCHED: Final[Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]] = {
    "Add": ({"c": np.array(1, np.float32)}, {}),
    "Mul": ({"c": np.array(1, np.float32)}, {}),
    "Relu": ({}, {}),
    "Sigmoid": ({}, {}),
    "Softmax": ({}, {"axis": -1}),
    "MatMul": ({"c": np.eye(4, dtype=np.float32)}, {}),
    "Conv": ({"c": np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)}, {"kernel_shape": [1, 1]}),
    "MaxPool": ({}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "Transpose": ({}, {"perm": [0, 1, 3, 2]}),
    "Reshape": ({"c": np.array(_SMALL, np.int64)}, {}),
    "LayerNormalization": ({"c": np.ones(4, np.float32), "d": np.zeros(4, np.float32)}, {"axis": -1}),
}


class Chains:
    """A chain of N tiny nodes of one type against a chain of 2 N: the difference is what one more node costs."""

    def __init__(self, op_type: str) -> None:
        constants, attributes = DISPATCHED[op_type]
        self._feeds = {"input": np.ones(_SMALL, np.float32)}
        self._sessions = [
            _session(
                [helper.make_node(op_type, ["input" if i == 0 else f"t{i - 1}", *constants], [f"t{i}"], **attributes) for i in range(length)],
                _SMALL,
                constants,
                1,
            )
            for length in (_LONG_CHAIN // 2, _LONG_CHAIN)
        ]

    def dispatch_us(self) -> float:
        """Microseconds a node, its (tiny) work included."""
        short, long = (_median_s(session, self._feeds, 50) for session in self._sessions)
        return max(0.0, (long - short) / (_LONG_CHAIN // 2) * 1e6)

"""A bundle of made-up numbers, for tests of what stands around a bundle: every kernel takes a known multiple of its roofline time.

No accuracy may rest on it.
"""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from stowplan_fleet import descriptors
from stowplan_fleet.devices import CoreThroughput, CpuDevice
from stowplan_fleet.slices import DeviceName
from stowplan_predictor.bundles.loading import COLOCATION, DEVICES, FUSION, NETWORKS, RESPONSE
from stowplan_predictor.bundles.manifests import canonical
from stowplan_predictor.bundles.writing import write_bundle
from stowplan_predictor.colocation.degradations import TERMS, ColocationTable
from stowplan_predictor.colocation.demands import Pressure
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.kernels.estimators import KERNELS, KernelTable
from stowplan_predictor.kernels.features import FEATURES
from stowplan_predictor.kernels.intervals import LogInterval
from stowplan_predictor.kernels.latencies import DeviceTable, Dispatch, NetworkTable
from stowplan_predictor.kernels.members import POOLED, MemberTable
from stowplan_predictor.kernels.ranges import HEAVY, LIGHT, TypeRange
from stowplan_predictor.kernels.subgraphs import NODES
from stowplan_predictor.response.queues import shape_of
from stowplan_predictor.response.response_times import ResponseTable

RUNTIME = "onnxruntime-cpu"
# Every kernel takes this many times its roofline time.
SLOWNESS = 2.0
PER_KERNEL_MS = 0.01
INTERVAL = LogInterval(-0.1, 0.1)

DEVICE = CpuDevice(
    name=DeviceName("synthetic"),
    model="Synthetic CPU",
    isa=("avx2", "fma"),
    cores=4,
    l1d_bytes=32 << 10,
    l2_bytes=1 << 20,
    l3_bytes=32 << 20,
    throughputs=(CoreThroughput(1, 1e11, 1e10), CoreThroughput(2, 2e11, 1.5e10), CoreThroughput(4, 4e11, 2e10)),
    dispatch_us={},
)


def constant_model(value: float, columns: int) -> bytes:
    """An ONNX file that gives one number for every row."""
    nodes = [helper.make_node("MatMul", ["features", "zeros"], ["none"]), helper.make_node("Add", ["none", "value"], ["log_ratio"])]
    constants = [
        numpy_helper.from_array(np.zeros((columns, 1), dtype=np.float32), "zeros"),
        numpy_helper.from_array(np.array([value], dtype=np.float32), "value"),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("log_ratio", TensorProto.FLOAT, [None, 1])],
        constants,
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10).SerializeToString())


def type_range(low: float = -50.0, high: float = 50.0) -> TypeRange:
    """A range in which every feature was seen between two bounds."""
    return TypeRange((low,) * len(FEATURES), (high,) * len(FEATURES), -10.0, 10.0, 5.0, 1000, 10, 0.2)


def synthetic_files(log_ratio: float = float(np.log(SLOWNESS))) -> dict[str, bytes]:
    """The content of a bundle in which all kernels take exp(log_ratio) times their roofline time."""
    ranges = {name: type_range() for name in (LIGHT, HEAVY)}
    # Seen in these types only; the light fallback stands for element-wise kernels up to a few operations per byte.
    ranges[LIGHT] = replace(ranges[LIGHT], feature_upper=tuple(2.0 if name == "log_intensity" else 50.0 for name in FEATURES))
    kinds = {"Conv": HEAVY, "PointwiseConv": HEAVY, "DepthwiseConv": HEAVY, "Gemm": HEAVY, "MatMul": HEAVY, "Relu": LIGHT, "Add": LIGHT}
    measured = DeviceTable(
        {"1": Dispatch(1.0, PER_KERNEL_MS, 0.0), "2": Dispatch(1.0, PER_KERNEL_MS, 0.0)},
        {"500": INTERVAL.widened(0.1), "1000": INTERVAL, "2000": INTERVAL},
        (500, 1000, 2000),
    )
    networks = NetworkTable(0.9, {DEVICE.name: measured})
    colocation = ColocationTable(TERMS, (0.1, 0.2, 0.1, 0.1, 0.1, 0.1), INTERVAL.widened(0.05), ((1000, 1000),), Pressure(1.0, 0.5, 0.5, 0.5), 0.9)
    shape = shape_of((0.0, 0.5, 0.95, 1.0), (0.95, 1.0, 1.05, 1.5))
    response = ResponseTable({"1000": shape, "2000": shape}, 0.2, 0.5, LogInterval(-0.1, 0.1), (1000,), 0.8, (50, 95), 0.9)
    member = MemberTable(POOLED, {"": "kernels/pooled.onnx"})
    return {
        "kernels/pooled.onnx": constant_model(log_ratio, len(FEATURES) + 1),
        KERNELS: KernelTable(FEATURES, NODES, ranges, kinds, (member,)).encoded(),
        FUSION: canonical(asdict(FusionTable.rules())),
        NETWORKS: canonical(asdict(networks)),
        COLOCATION: canonical(asdict(colocation)),
        RESPONSE: canonical(asdict(response)),
        f"{DEVICES}/{DEVICE.name}.json": descriptors.write_device(DEVICE),
    }


def write_synthetic_bundle(folder: Path, log_ratio: float = float(np.log(SLOWNESS))) -> Path:
    """Writes that bundle and gives its folder."""
    write_bundle(folder, name="synthetic", runtime=RUNTIME, files=synthetic_files(log_ratio), models={}, provenance={"made": "up"}, errors={})
    return folder


def chain_model(channels: int = 32, side: int = 28, convolutions: int = 3, operator: str = "Relu") -> bytes:
    """A small network: convolutions, each followed by an element-wise operator."""
    nodes, constants, last = [], [], "x"
    for index in range(convolutions):
        weight = np.zeros((channels, channels, 3, 3), dtype=np.float32)
        constants.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes.append(helper.make_node("Conv", [last, f"w{index}"], [f"c{index}"], name=f"conv{index}", pads=[1, 1, 1, 1], kernel_shape=[3, 3]))
        nodes.append(helper.make_node(operator, [f"c{index}"], [f"r{index}"], name=f"act{index}"))
        last = f"r{index}"
    shape = [1, channels, side, side]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())

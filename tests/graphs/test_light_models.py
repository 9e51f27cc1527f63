"""The nine networks inside the onnx package: weights made by nodes, old opsets, parameters listed as inputs."""

from pathlib import Path

import onnx
import pytest
from stowplan_predictor.graphs.loading import load_graph

_FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
# Operators, then FLOPs and parameters as published with the architectures (multiply-adds x 2; torchvision's and ONNX model zoo's tables, rounded).
# AlexNet here is Caffe's with two groups; ShuffleNet is v1 with 3 groups.
_KNOWN = {
    "bvlc_alexnet": (24, 1.3e9, 61.0e6),
    "densenet121": (668, 5.7e9, 8.1e6),
    "inception_v1": (143, 2.9e9, 7.0e6),
    "inception_v2": (371, 4.0e9, 11.2e6),
    "resnet50": (176, 2 * 4.1e9, 25.6e6),
    "shufflenet": (203, 0.26e9, 1.4e6),
    "squeezenet": (66, 0.70e9, 1.2e6),
    "vgg19": (46, 2 * 19.6e9, 143.7e6),
    "zfnet512": (22, 3.0e9, 87.3e6),
}


@pytest.mark.parametrize("name", _KNOWN)
def test_light_model(name: str) -> None:
    """It loads without any input shape, its weights are parameters, and its work is the published one within 5 %."""
    operators, flops, parameters = _KNOWN[name]

    graph = load_graph((_FOLDER / f"light_{name}.onnx").read_bytes())

    assert operators == len(graph.operators)
    assert pytest.approx(flops, rel=0.05) == graph.flops
    assert pytest.approx(parameters, rel=0.05) == graph.parameters
    assert [tensor.shape for tensor in map(graph.tensors.__getitem__, graph.inputs)] == [(1, 3, 224, 224)]
    assert not {op.op_type for op in graph.operators} & {"ConstantOfShape", "Constant", "Shape"}

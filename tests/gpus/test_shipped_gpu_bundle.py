"""The bundle of GPUs that comes with the package answers for real networks on the catalogue's GPUs."""

import functools
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from onnx import helper
from stowplan_fleet.answers import Answer, Basis
from stowplan_fleet.devices import Device, GpuDevice
from stowplan_fleet.gpus.catalogue import find, gpus
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.slices import DeviceName, SliceClass, parse_slice
from stowplan_predictor.bundles.loading import open_bundle, shipped_folder
from stowplan_predictor.pipelines import Pipeline
from support.onnx_models import model, zeros

RUNTIME = "torch-eager"


@functools.cache
def pipeline() -> Pipeline:
    return Pipeline(open_bundle(shipped_folder(RUNTIME)))


def layers() -> bytes:
    """A block as in a transformer: a product, a normalization, a rectifier, a product."""
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Softmax", ["b"], ["c"], axis=-1),
        helper.make_node("MatMul", ["c", "w"], ["y"]),
    ]
    return bytes(model(nodes, {"x": (1024, 768)}, constants={"v": zeros(768, 3072), "w": zeros(3072, 768)}).SerializeToString())


def ask_all(slices: Mapping[str, Sequence[str]]) -> dict[str, list[Answer]]:
    """The block on slices of GPUs by their products, in one call."""
    devices: dict[DeviceName, Device] = {DeviceName(product): GpuDevice(DeviceName(product)) for product in slices}
    digest = pipeline().analyze(layers(), {}).graph_digest
    questions = [Question(Occupant(digest, SliceClass(DeviceName(product), parse_slice(text)), 0.0)) for product, texts in slices.items() for text in texts]
    answers = iter(pipeline().predict(questions, devices, RUNTIME))
    return {product: [next(answers) for _ in texts] for product, texts in slices.items()}


def ask(product: str, *texts: str) -> list[Answer]:
    return ask_all({product: texts})[product]


def test_a_measured_gpu_is_answered_as_measured() -> None:
    """All kernels of kinds that were measured, on a GPU that was: a number, an interval that holds it, basis measured."""
    (answer,) = ask("NVIDIA-A100-PCIE-40GB", "full")

    assert answer.basis is Basis.MEASURED, answer.message
    assert answer.isolated is not None
    assert answer.isolated.lower_ms < answer.isolated.median_ms < answer.isolated.upper_ms
    # 9.7 GFLOP: half a millisecond at the peak; three launches and a softmax beside it.
    assert 0.5 < answer.isolated.median_ms < 2.0


@pytest.mark.parametrize("product", ["NVIDIA-A100-SXM4-80GB", "NVIDIA-A30", "NVIDIA-H100-80GB-HBM3", "NVIDIA-H200"])
def test_larger_instances_are_never_slower(product: str) -> None:
    """MIG instances by size, then the whole GPU: medians never rise, and what was not measured says so."""
    gpu = find(product)
    assert gpu is not None
    assert gpu.mig is not None
    known = [item for item in gpu.mig.profiles if item.multiprocessors and not item.profile.endswith(".me")]
    ordered = sorted(known, key=lambda item: (item.multiprocessors or 0, item.memory_slices))
    answers = ask(product, *(f"mig-{item.profile}" for item in ordered), "full")

    medians = [answer.isolated.median_ms for answer in answers if answer.isolated is not None]
    assert len(medians) == len(answers)
    # Equal but for the last digits where more of what is not short makes no difference.
    assert all(larger <= smaller * (1 + 1e-9) for smaller, larger in pairwise(medians))
    assert all(answer.basis is Basis.EXTRAPOLATED for answer in answers[:-1])


def test_every_gpu_of_the_catalogue_is_answered() -> None:
    """Whole, as half of an MPS share and as one of four time slices; half is never faster than whole."""
    answers = ask_all({gpu.product: ("full", "mps-50", "time-4") for gpu in gpus()})
    assert len(answers) == len(gpus())
    for whole, half, quarter in answers.values():
        assert whole.isolated is not None, whole.message
        assert half.isolated is not None, half.message
        assert quarter.isolated is not None, quarter.message
        assert half.isolated.median_ms >= whole.isolated.median_ms * (1 - 1e-9)
        assert quarter.isolated.median_ms == pytest.approx(whole.isolated.median_ms)

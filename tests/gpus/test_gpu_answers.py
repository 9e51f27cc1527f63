"""The whole road for GPUs on a synthetic bundle: whole GPUs, MIG, MPS and time slices, tenants, what is unknown, and never a number that is none."""

import math

import numpy as np
import pytest
from onnx import helper
from stowplan_fleet.answers import Answer, Basis, UnknownReason
from stowplan_fleet.devices import Device, GpuDevice
from stowplan_fleet.questions import Occupant, Question, Tenant, UnknownOccupant
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import DeviceName, SliceClass, parse_slice, parse_slice_class
from stowplan_predictor.bundles.loading import open_bundle
from stowplan_predictor.gpus.judges import open_gpus
from stowplan_predictor.pipelines import Pipeline
from support.onnx_models import model, zeros
from support.synthetic_bundles import DEVICE as CPU
from support.synthetic_gpu_bundles import LAUNCH_MS, MEASURED, RUNTIME, SLOWNESS, synthetic_files, write_synthetic_gpu_bundle

NAME = DeviceName(MEASURED)
OTHER = DeviceName("NVIDIA-L4")
SMALLER = DeviceName("NVIDIA-A100-PCIE-40GB")
DEVICES: dict[DeviceName, Device] = {NAME: GpuDevice(NAME), OTHER: GpuDevice(OTHER), SMALLER: GpuDevice(SMALLER), CPU.name: CPU}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return Pipeline(open_bundle(write_synthetic_gpu_bundle(tmp_path_factory.mktemp("gpu") / "b")))


def layers(batch: int = 512) -> bytes:
    """Two linear layers with a rectifier between them."""
    nodes = [helper.make_node("MatMul", ["x", "v"], ["a"]), helper.make_node("Relu", ["a"], ["b"]), helper.make_node("MatMul", ["b", "w"], ["y"])]
    return bytes(model(nodes, {"x": (batch, 1024)}, constants={"v": zeros(1024, 2048), "w": zeros(2048, 1024)}).SerializeToString())


def pooled() -> bytes:
    """A pooling between two rectifiers."""
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("MaxPool", ["a"], ["y"], kernel_shape=[2, 2], strides=[2, 2])]
    return bytes(model(nodes, {"x": (8, 64, 112, 112)}).SerializeToString())


@pytest.fixture(scope="module")
def digest(pipeline: Pipeline) -> GraphDigest:
    return pipeline.analyze(layers(), {}).graph_digest


def occupant(digest: GraphDigest, text: str = "full", rate: float = 0.0, device: DeviceName = NAME) -> Occupant:
    return Occupant(digest, SliceClass(device, parse_slice(text)), rate)


def ask(pipeline: Pipeline, subject: Occupant, *tenants: Tenant, at_once: int | None = None) -> Answer:
    return pipeline.predict([Question(subject, tenants, 95, at_once)], DEVICES, RUNTIME)[0]


def median(answer: Answer) -> float:
    assert answer.colocated is not None, answer.message
    return answer.colocated.median_ms


def test_a_service_time_is_the_sum_of_its_kernels(pipeline: Pipeline, digest: GraphDigest) -> None:
    """Two products at the sustained rate and a rectifier at the reached bandwidth, each with its launch, times the learned factor."""
    answer = ask(pipeline, occupant(digest))

    product_ms = 1e3 * 2 * 512 * 1024 * 2048 / (19.5e12 * 0.9)
    light_ms = 1e3 * 2 * 4 * 512 * 2048 / 1.4 / (1935e9 * 0.8)
    assert answer.basis is Basis.MEASURED, answer.message
    assert answer.message == ""
    assert median(answer) == pytest.approx(SLOWNESS * (3 * LAUNCH_MS + 2 * product_ms + light_ms), rel=1e-3)


def test_kernels_of_an_explanation_sum_to_the_whole(pipeline: Pipeline, digest: GraphDigest) -> None:
    """Every kernel has its part of the time, views and constants none."""
    shares = pipeline.explain(digest, SliceClass(NAME, parse_slice("full")), DEVICES)

    assert sum(share.latency_ms for share in shares) == pytest.approx(median(ask(pipeline, occupant(digest))))
    assert [share.type for share in shares if share.latency_ms > 0] == ["MatMul", "MatMul", "Relu"]


@pytest.mark.parametrize("text", ["mig-1g.10gb", "mig-2g.20gb", "mps-25"])
def test_a_cut_slice_is_extrapolated_with_a_wider_interval(pipeline: Pipeline, digest: GraphDigest, text: str) -> None:
    """It takes longer than the whole GPU, says that nobody measured it, and its interval reaches from the whole GPU to its share of it."""
    whole, part = ask(pipeline, occupant(digest)), ask(pipeline, occupant(digest, text))

    assert part.basis is Basis.EXTRAPOLATED
    assert f"no {text} was measured" in part.message
    assert whole.isolated is not None
    assert part.isolated is not None
    assert part.isolated.median_ms > whole.isolated.median_ms
    assert part.isolated.upper_ms / part.isolated.lower_ms > whole.isolated.upper_ms / whole.isolated.lower_ms
    assert part.isolated.lower_ms <= whole.isolated.median_ms


def test_another_gpu_is_extrapolated(pipeline: Pipeline, digest: GraphDigest) -> None:
    """A GPU of the catalogue that nobody measured gets an answer that says so, with the interval of GPUs held out."""
    answer = ask(pipeline, occupant(digest, device=OTHER))

    assert answer.basis is Basis.EXTRAPOLATED
    assert "no kernel was measured on NVIDIA-L4" in answer.message
    assert answer.isolated is not None
    assert math.log(answer.isolated.upper_ms / answer.isolated.median_ms) == pytest.approx(0.3)


def test_operators_without_measurements_are_named_with_their_share(pipeline: Pipeline) -> None:
    """A pooling goes by its bytes: extrapolated, its share of the time in the message."""
    answer = ask(pipeline, occupant(pipeline.analyze(pooled(), {}).graph_digest))

    assert answer.basis is Basis.EXTRAPOLATED
    assert "% of the time is in kernels of which no like was measured (MaxPool)" in answer.message


def test_another_precision_is_unknown(pipeline: Pipeline) -> None:
    """Half precision was never measured: no number, and the reason names the kernel."""
    nodes = [helper.make_node("Cast", ["x"], ["h"], to=10), helper.make_node("MatMul", ["h", "w"], ["p"]), helper.make_node("Cast", ["p"], ["y"], to=1)]
    half = model(nodes, {"x": (64, 128)}, constants={"w": np.zeros((128, 128), np.float16)}).SerializeToString()
    answer = ask(pipeline, occupant(pipeline.analyze(half, {}).graph_digest))

    assert answer.unknown_reason is UnknownReason.KERNEL_NOT_SUPPORTED
    assert "only float32 was measured" in answer.message


def test_what_memory_does_not_bound_and_nobody_measured_is_unknown(pipeline: Pipeline) -> None:
    """A transposed convolution is neither a measured kernel nor one that its bytes would bound."""
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], kernel_shape=[3, 3])]
    answer = ask(
        pipeline, occupant(pipeline.analyze(model(nodes, {"x": (1, 64, 32, 32)}, constants={"w": zeros(64, 64, 3, 3)}).SerializeToString(), {}).graph_digest)
    )

    assert answer.unknown_reason is UnknownReason.KERNEL_NOT_SUPPORTED
    assert "ConvTranspose" in answer.message


@pytest.mark.parametrize(
    ("place", "reason", "words"),
    [
        ("NVIDIA-Z9/full", UnknownReason.DEVICE_NOT_DESCRIBED, "described by no node"),
        (f"{CPU.name}/cpu:1", UnknownReason.DEVICE_NOT_SUPPORTED, "is a CPU"),
        (f"{OTHER}/mig-1g.5gb", UnknownReason.SLICE_NOT_SUPPORTED, "no MIG profile"),
        (f"{NAME}/cpu:1", UnknownReason.SLICE_NOT_SUPPORTED, "no slice of a GPU"),
    ],
)
def test_no_judgement_has_its_reason(pipeline: Pipeline, digest: GraphDigest, place: str, reason: UnknownReason, words: str) -> None:
    """What cannot be judged is unknown, and the message says what and why."""
    answer = ask(pipeline, Occupant(digest, parse_slice_class(place), 0.0))

    assert answer.unknown_reason is reason
    assert words in answer.message


def test_what_does_not_fit_is_refused(pipeline: Pipeline) -> None:
    """More than a slice's memory: no such place, and the message names both sizes."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    digest = pipeline.analyze(model(nodes, {"x": (16_384, 32_768), "w": (32_768, 16_384)}).SerializeToString(), {}).graph_digest

    assert ask(pipeline, occupant(digest, device=SMALLER)).unknown_reason is None
    answer = ask(pipeline, occupant(digest, "mig-1g.5gb", device=SMALLER))
    assert answer.unknown_reason is UnknownReason.SLICE_NOT_SUPPORTED
    assert "5.0 GiB" in answer.message


def test_mig_neighbours_change_nothing(pipeline: Pipeline, digest: GraphDigest) -> None:
    """An instance has its own multiprocessors, memory slices and cache: tenants of others do not slow it."""
    neighbour = occupant(digest, "mig-2g.20gb", rate=50.0)

    assert ask(pipeline, occupant(digest, "mig-1g.10gb"), neighbour) == ask(pipeline, occupant(digest, "mig-1g.10gb"))


@pytest.mark.parametrize("text", ["mps-25", "time-4"])
def test_sharing_slows_down_and_is_unvalidated(pipeline: Pipeline, digest: GraphDigest, text: str) -> None:
    """A tenant under MPS or time slicing raises the answer, which says that the law was never checked; more tenants never lower it."""
    alone = ask(pipeline, occupant(digest, text))
    beside = [ask(pipeline, occupant(digest, text), *[occupant(digest, text, rate=5000.0)] * count) for count in (1, 2, 3)]

    assert all(answer.basis is Basis.UNVALIDATED for answer in beside)
    assert all("never checked" in answer.message for answer in beside)
    uppers = [answer.colocated.upper_ms for answer in (alone, *beside) if answer.colocated is not None]
    assert uppers == sorted(uppers)
    assert uppers[-1] > 3.9 * uppers[0]


def test_time_slices_take_equal_turns(pipeline: Pipeline, digest: GraphDigest) -> None:
    """Beside three that always run, everything takes four times as long; beside one of which nothing is known, twice."""
    alone = median(ask(pipeline, occupant(digest, "time-4")))

    assert median(ask(pipeline, occupant(digest, "time-4"), *[occupant(digest, "time-4", rate=1e6)] * 3)) == pytest.approx(4 * alone)
    assert median(ask(pipeline, occupant(digest, "time-4"), UnknownOccupant(1000))) == pytest.approx(2 * alone)


def test_the_worst_tenants_that_one_gpu_can_hold_are_taken(pipeline: Pipeline, digest: GraphDigest) -> None:
    """Of three tenants of which one can be on the same GPU, the busiest counts, and the message says so."""
    tenants = [occupant(digest, "time-2", rate=rate) for rate in (1.0, 1e6, 2.0)]
    answer = ask(pipeline, occupant(digest, "time-2"), *tenants, at_once=1)

    assert median(answer) == pytest.approx(2 * median(ask(pipeline, occupant(digest, "time-2"))))
    assert "heaviest 1 of 3 tenants" in answer.message


def test_a_load_makes_the_answer_unvalidated(pipeline: Pipeline, digest: GraphDigest) -> None:
    """No server on a GPU was measured under load: a queue's answer says so, more load never shortens it, and too much of it is an overload."""
    answers = [ask(pipeline, occupant(digest, rate=rate)) for rate in (100.0, 500.0, 1000.0, 1e5)]

    assert all(answer.basis is Basis.UNVALIDATED for answer in answers)
    uppers = [answer.response.upper_ms for answer in answers if answer.response is not None]
    assert uppers == sorted(uppers)
    assert answers[-1].overloaded


def test_a_bundle_of_another_version_is_refused() -> None:
    """A table with other features than this version computes is refused with what to do."""
    files = synthetic_files()
    with pytest.raises(ValueError, match="train the bundle again"):
        open_gpus({**files, "gpus.json": files["gpus.json"].replace(b"log_m", b"log_z")}, "x@1")

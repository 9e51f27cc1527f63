"""The predictor's process with its default settings: what a cluster gets that configures nothing."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onnx import helper
from stowplan_fleet import heaps
from stowplan_fleet.answers import Basis
from stowplan_fleet.clients import GrpcPredictor
from stowplan_fleet.devices import Device, GpuDevice
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.slices import DeviceName, SliceClass, parse_slice
from stowplan_predictor.bundles.loading import shipped_bundle
from stowplan_predictor.serving.settings import Bundles
from support.onnx_models import model, zeros

A100 = DeviceName("NVIDIA-A100-SXM4-80GB")


@asynccontextmanager
async def default_predictor() -> AsyncIterator[GrpcPredictor]:
    """`python -m stowplan_predictor` with nothing set but free ports; ended at the end."""
    ports = {f"STOWPLAN_PREDICTOR_{name}": "0" for name in ("GRPC_PORT", "METRICS_PORT", "SHUTDOWN_NOTICE_S")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STOWPLAN_PREDICTOR_")}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "stowplan_predictor", env=kept | ports, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        port = 0
        while raw := await process.stderr.readline():
            told = json.loads(raw)
            port = told.get("grpc_port", port)
            if told["msg"] == "serving":
                break
        async with GrpcPredictor(f"127.0.0.1:{port}", 20.0) as predictor:
            yield predictor
    finally:
        process.terminate()
        await process.communicate()


def perceptron() -> bytes:
    """Two products with a rectifier between them."""
    nodes = [helper.make_node("MatMul", ["x", "v"], ["a"]), helper.make_node("Relu", ["a"], ["b"]), helper.make_node("MatMul", ["b", "w"], ["y"])]
    return bytes(model(nodes, {"x": (1024, 768)}, constants={"v": zeros(768, 3072), "w": zeros(3072, 768)}).SerializeToString())


async def test_a_predictor_that_was_told_nothing_answers_for_cpus_and_gpus() -> None:
    """Over gRPC: one model, asked for on a slice of a CPU and on slices of a GPU, each by the shipped bundle of its runtime."""
    cpu = shipped_bundle("onnxruntime-cpu").devices[0]
    devices: dict[DeviceName, Device] = {A100: GpuDevice(A100), cpu.name: cpu}
    async with default_predictor() as predictor:
        runtimes = {(await predictor.describe(runtime)).runtime for runtime in Bundles().runtimes}
        digest = (await predictor.analyze(perceptron(), {})).graph_digest

        async def ask(name: DeviceName, runtime: str, *slices: str) -> list[tuple[Basis, float]]:
            questions = [Question(Occupant(digest, SliceClass(name, parse_slice(text)), 0.0)) for text in slices]
            answers = await predictor.predict(questions, devices, runtime)
            return [(answer.basis, answer.isolated.median_ms if answer.isolated else 0.0) for answer in answers]

        on_gpu = await ask(A100, "torch-eager", "full", "mig-1g.10gb", "mps-50")
        on_cpu = await ask(cpu.name, "onnxruntime-cpu", "cpu:1")

    assert runtimes == set(Bundles().runtimes) == {"onnxruntime-cpu", "torch-eager"}
    # Nobody measured this model of an A100, nor a slice of any GPU.
    assert [basis for basis, _ in on_gpu] == [Basis.EXTRAPOLATED] * 3
    whole, instance, half = (median for _, median in on_gpu)
    assert 0.0 < whole <= half < instance
    assert on_cpu[0][0] is not Basis.UNKNOWN


def test_arenas_are_shared_where_the_c_library_can() -> None:
    """A setting of glibc; asking twice changes nothing."""
    assert heaps.share_arenas() is heaps.share_arenas()

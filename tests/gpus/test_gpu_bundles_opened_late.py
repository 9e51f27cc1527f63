"""A served bundle of GPUs takes no memory for its models before somebody asks about a GPU; its answers are those of one that is open from the start."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from onnx import helper
from stowplan_fleet.answers import Answer
from stowplan_fleet.devices import Device, GpuDevice
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.slices import DeviceName, SliceClass, parse_slice
from stowplan_predictor.bundles import gpu_bundles
from stowplan_predictor.bundles.gpu_bundles import GpuBundle
from stowplan_predictor.bundles.loading import open_bundle, shipped_folder
from stowplan_predictor.errors import BundleRefused
from stowplan_predictor.gpus import judges
from stowplan_predictor.gpus.estimators import TABLE
from stowplan_predictor.pipelines import Pipeline
from stowplan_predictor.serving import served
from stowplan_predictor.serving.settings import Bundles
from support.onnx_models import model, zeros
from support.synthetic_gpu_bundles import write_synthetic_gpu_bundle

GPU = DeviceName("NVIDIA-A100-SXM4-80GB")
SLICES = ("full", "mig-1g.10gb", "mig-3g.40gb", "mps-50", "time-2")


def chain(length: int) -> bytes:
    """So many products and rectifiers."""
    nodes = [
        helper.make_node("MatMul" if step % 2 == 0 else "Relu", [f"y{step}", "w"] if step % 2 == 0 else [f"y{step}"], [f"y{step + 1}"])
        for step in range(length)
    ]
    nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    return bytes(model(nodes, {"x": (64, 64)}, constants={"w": zeros(64, 64)}).SerializeToString())


def ask(pipeline: Pipeline, length: int) -> list[Answer]:
    """On all slices at once."""
    digest = pipeline.analyze(chain(length), {}).graph_digest
    devices: dict[DeviceName, Device] = {GPU: GpuDevice(GPU)}
    return pipeline.predict([Question(Occupant(digest, SliceClass(GPU, parse_slice(text)), 1.0)) for text in SLICES], devices, "torch-eager")


def test_a_server_opens_its_models_with_the_first_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at while it is loaded, then not kept; opened once, however many ask at the same time."""
    opened: list[str] = []
    really = judges.open_gpus

    def counting(files: dict[str, bytes], label: str) -> judges.GpuJudge:
        opened.append(label)
        return really(files, label)

    monkeypatch.setattr(judges, "open_gpus", counting)
    pipeline = served.load(Bundles(runtimes=("torch-eager",)))["torch-eager"].pipeline
    assert len(opened) == 1
    assert isinstance(pipeline, Pipeline)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda length: ask(pipeline, length), (2, 4, 6, 8)))

    assert len(opened) == 2
    assert all(answer.isolated is not None for some in answers for answer in some)


def test_answers_do_not_depend_on_how_many_kernels_are_computed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All slices of a long network together, and one after the other."""
    bundle = open_bundle(shipped_folder("torch-eager"))
    assert isinstance(bundle, GpuBundle)
    together = {}
    for at_a_time in (1, 100_000):
        monkeypatch.setattr(gpu_bundles, "_KERNELS_AT_A_TIME", at_a_time)
        together[at_a_time] = ask(Pipeline(bundle), 40)

    assert [answer.isolated for answer in together[1]] == [answer.isolated for answer in together[100_000]]
    assert [answer.basis for answer in together[1]] == [answer.basis for answer in together[100_000]]


def test_a_bundle_that_cannot_be_used_is_refused_when_it_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not by the first question."""
    folder = write_synthetic_gpu_bundle(tmp_path / "bundle")

    def refusing(content: bytes) -> None:
        raise ValueError(f"{TABLE}: of another version ({len(content)} bytes)")

    monkeypatch.setattr(judges, "open_table", refusing)
    with pytest.raises(BundleRefused, match="of another version"):
        open_bundle(folder)

"""`stowplan place` on the example with MIG, MPS and CPU nodes: the operator's and the extender's own code, judged by a stated law, then by what is shipped."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from stowplan_cli.objects import snapshots
from stowplan_cli.placements import placing
from stowplan_cli.simulating import stages
from stowplan_fleet.answers import Answer, Basis, LatencyInterval
from stowplan_fleet.devices import CpuDevice, Device, GpuDevice
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.questions import Question
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import DeviceName
from stowplan_predictor.bundles import loading as bundles
from stowplan_predictor.graphs import loading
from support import gpu_laws
from support.command_lines import Run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
GPUS = EXAMPLES / "gpus"


class Law:
    """`support.gpu_laws` for GPUs, FLOP/s alone for CPUs, in this process; it remembers what it was asked."""

    def __init__(self) -> None:
        self.flops: dict[GraphDigest, float] = {}
        self.asked: list[Question] = []

    async def analyze(self, onnx_model: bytes, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """Counts FLOPs."""
        graph = loading.load_graph(onnx_model, dict(input_shapes))
        flops = sum(op.flops for op in graph.operators)
        self.flops[graph.digest] = flops
        return GraphSummary(graph.digest, loading.model_digest(onnx_model), len(graph.operators), len(graph.operators), flops, 0, 0)

    async def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> Sequence[Answer]:
        """Answers by the law."""
        self.asked += questions
        return [self._answer(question, devices[question.subject.slice_class.device], runtime) for question in questions]

    def _answer(self, question: Question, device: Device, runtime: str) -> Answer:
        flops, subject = self.flops[question.subject.graph_digest], question.subject
        if isinstance(device, CpuDevice):
            assert runtime == "onnxruntime-cpu"
            took_ms = 1000 * flops / device.throughputs[0].flops_per_second
        else:
            assert isinstance(device, GpuDevice)
            assert runtime == gpu_laws.RUNTIME
            most = len(question.tenants) if question.tenants_at_once is None else question.tenants_at_once
            took_ms = gpu_laws.response_ms(flops, device, str(subject.slice_class), most, subject.requests_per_second)
        interval = LatencyInterval(took_ms, took_ms, took_ms, 0.9)
        return Answer(Basis.UNVALIDATED, None, "one stated law", isolated=interval, colocated=interval, response=interval, utilization=0.1)


def placed(predictor: Law) -> tuple[dict[str, list[tuple[str, str]]], stages.Outcome]:
    stage = stages.prepare(GPUS / "services.yaml", snapshots.read_snapshot(GPUS / "cluster.yaml", None), EXAMPLES / "models")
    outcome = asyncio.run(stages.run(stage, predictor))
    found: dict[str, list[tuple[str, str]]] = {}
    for item in outcome.placed:
        found.setdefault(item.service, []).append((item.node, str(item.slice_class)))
    return found, outcome


def test_each_service_gets_the_cheapest_kind_of_slice_that_is_left() -> None:
    """The first takes both 1g.10gb; the second climbs past them to the next in price, a share of an L4; a runtime of CPUs goes to the CPUs."""
    where, outcome = placed(Law())

    assert where["vision/tagger"] == [("cut-1", "NVIDIA-A100-SXM4-80GB/mig-1g.10gb")] * 2
    assert where["vision/search"] == [("shared-1", "NVIDIA-L4/mps-25")]
    assert where["vision/thumbnails"] == [("quick-1", "made-up-quick/cpu:1")]
    assert outcome.unplaced == []


def test_each_placement_says_what_it_rests_on() -> None:
    """Basis and reason stand beside the number, for programs and for people."""
    _, outcome = placed(Law())
    document = placing.document_of(outcome.placed, outcome.unplaced)

    assert {(item["basis"], item["because"]) for item in document["placements"]} == {("unvalidated", "one stated law")}


def test_the_example_runs_with_what_is_shipped(run: Run) -> None:
    """CPUs are judged in any case; GPUs where a bundle of GPUs is shipped, and else they stay out with that reason and status 3."""
    arguments = ("place", "-f", GPUS / "services.yaml", "--cluster", GPUS / "cluster.yaml", "--models", EXAMPLES / "models", "-o", "json")
    outcome = run(*arguments)
    slices = {item["service"]: item["slice"] for item in outcome.json["placements"]}

    assert slices["vision/thumbnails"].startswith("cpu:")
    if gpu_laws.RUNTIME in bundles.shipped_runtimes():
        assert outcome.status == 0
        assert slices["vision/tagger"].startswith(("mig-", "mps-"))
        assert slices["vision/search"].startswith(("mig-", "mps-"))
        assert {item["basis"] for item in outcome.json["placements"] if item["slice"] != slices["vision/thumbnails"]} <= {"extrapolated", "unvalidated"}
    else:
        assert outcome.status == 3
        assert all("RuntimeNotSupported" in text for item in outcome.json["unplaced"] for node, text in item["reasons"].items() if node != "quick-1")

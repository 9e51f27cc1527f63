"""GPU slices on the real control plane: nodes that wear the labels of real ones, the ladder of slices, and what the kubelet's choice of GPU means.

The operator, the extender and the scheduler are the real ones; who judges is one stated law (`support.gpu_laws`), so that every objective can be placed
exactly.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import controlplane_parts as parts
import pytest
from controlplane_binaries import Binaries
from controlplane_clusters import Cluster, free_ports
from stowplan_fleet import keys
from stowplan_fleet.devices import GpuDevice
from stowplan_fleet.slices import DeviceName
from stowplan_predictor.graphs import loading
from support import api_definitions, components, gpu_laws, gpu_nodes
from support.audits import audit
from support.components import SYSTEM_NAMESPACE, Extender
from support.controlplane import apply, node, own_namespace, remove_nodes
from support.crews import await_view
from support.gpu_nodes import GpuNode
from support.stages import MODELS, Stage, inference_service
from support.wiretaps import Wiretap, tapping

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(180)]

A100, T4 = "NVIDIA-A100-SXM4-80GB", "Tesla-T4"
SMALL, MIDDLE, LARGE = f"{A100}/mig-1g.10gb", f"{A100}/mig-2g.20gb", f"{A100}/mig-3g.40gb"
QUARTER = f"{T4}/mps-25"
# One GPU, cut as a real node's was (`support.gpu_nodes.MIG_MIXED`), of the SXM model: one instance of each size.
CUT = gpu_nodes.mig(A100, 81920, {"1g.10gb": (1, 9728, 14), "2g.20gb": (1, 19968, 28), "3g.40gb": (1, 40192, 42)})
SHARED = gpu_nodes.mps(T4, 1, 4, 15360)
# Long enough for the scheduler to have refused a pod, short enough for a test.
CLIMB_AFTER_S = 3


@pytest.fixture(scope="module")
def gpu_cluster(controlplane_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Wiretap, Extender, int]]:
    """A control plane of its own: an operator that climbs after seconds must not meet the services of other tests."""
    cluster = Cluster(controlplane_binaries, tmp_path_factory.mktemp("gpu-ladders"))
    tapped, port = free_ports(2)
    try:
        cluster.start("law", [sys.executable, "-m", "support.gpu_laws", str(port)], {"PYTHONPATH": str(Path(__file__).resolve().parents[1])})
        parts.start_apiserver(cluster)
        parts.start_controller_manager(cluster)
        parts.start_kwok(cluster)
        api_definitions.serve(cluster)
        apply(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}})
        components.install_accounts(cluster)
        extender = components.extender(cluster, port, "stowplan-scheduler")
        cluster.await_ready("law", lambda: components.serves(port), 60)
        extender.start()
        parts.start_scheduler(cluster, "stowplan", f"http://127.0.0.1:{tapped}")
        patience = {"STOWPLAN_OPERATOR_PATIENCE_CLIMB_AFTER_S": str(CLIMB_AFTER_S)}
        components.operator(cluster, port, "stowplan-operator", more=patience).start()
        with tapping(tapped, extender.port) as tap:
            yield cluster, tap, extender, port
    finally:
        cluster.stop_all()


@pytest.fixture
def gpu_stage(gpu_cluster: tuple[Cluster, Wiretap, Extender, int]) -> Iterator[Stage]:
    """A stage for one test, audited at its end."""
    cluster, tap, extender, port = gpu_cluster
    nodes: list[str] = []
    try:
        with own_namespace(cluster, "gpus") as namespace:
            yield Stage(cluster, namespace, tap, extender, port, {}, nodes)
            broken = audit(cluster)
    finally:
        if nodes:
            remove_nodes(cluster, nodes)
    assert broken == []
    await_view(cluster, extender)


def wearing(name: str, real: GpuNode) -> dict[str, Any]:
    """A node that wears a real one's labels and resources."""
    return node(name, "64", real.full_labels, memory="256Gi", extended=real.resources)


def gpu_service(name: str, slo_ms: int, slice_classes: tuple[str, ...] = (), requests_per_second: int = 1) -> dict[str, Any]:
    service = inference_service(name, "resnet50", slo_ms, requests_per_second, slice_classes=slice_classes)
    service["spec"]["model"]["runtime"] = gpu_laws.RUNTIME
    return service


def law_ms(slice_class: str, tenants: int = 0) -> float:
    """What the law says of a ResNet-50 with one request a second."""
    graph = loading.load_graph((MODELS / "resnet50.onnx").read_bytes())
    device = GpuDevice(DeviceName(slice_class.partition("/")[0]))
    return gpu_laws.response_ms(sum(op.flops for op in graph.operators), device, slice_class, tenants)


def slice_of(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"]["annotations"][keys.BOUND_SLICE_ANNOTATION])


def test_the_ladder_climbs_from_1g_to_2g_when_the_small_slices_are_taken_and_skips_a_rung_that_misses(gpu_stage: Stage) -> None:
    """The cheapest slice that does is a 1g.10gb; the only one is taken, and a quarter of a T4, the next in price, would be too slow: it gets 2g.20gb."""
    assert law_ms(MIDDLE) < law_ms(SMALL) < law_ms(QUARTER)
    objective = round((law_ms(SMALL) + law_ms(QUARTER)) / 2)
    gpu_stage.add_nodes(wearing("cut", CUT), wearing("shared", SHARED))
    gpu_stage.upload("resnet50")
    gpu_stage.apply(gpu_service("taker", 60_000, (SMALL,)))
    (taker,) = gpu_stage.await_bound("taker")
    assert slice_of(taker) == SMALL

    gpu_stage.apply(gpu_service("climber", objective))
    (pod,) = gpu_stage.await_bound("climber", timeout_s=60)
    status = gpu_stage.service("climber")["status"]
    ladder = {rung["sliceClass"]: rung for rung in status["ladder"]}

    assert (slice_of(pod), pod["spec"]["nodeName"]) == (MIDDLE, "cut")
    assert status["sliceClass"] == MIDDLE
    assert [SMALL in ladder, ladder[SMALL]["meetsSLO"], ladder[QUARTER]["meetsSLO"], ladder[MIDDLE]["meetsSLO"]] == [True, True, False, True]
    assert ladder[QUARTER]["skipped"] == "MissesObjective"
    assert ladder[SMALL]["skipped"] == "NoSpareSlice"
    requested = pod["spec"]["containers"][0]["resources"]["limits"]
    assert requested["nvidia.com/mig-2g.20gb"] == "1"
    assert float(pod["metadata"]["annotations"][keys.PREDICTED_MS_ANNOTATION]) == pytest.approx(law_ms(MIDDLE), rel=0.01)


def test_rungs_that_would_miss_are_never_tried(gpu_stage: Stage) -> None:
    """Only a 3g.40gb is fast enough: it is taken at once, though smaller slices are free."""
    objective = round((law_ms(LARGE) + law_ms(MIDDLE)) / 2)
    gpu_stage.add_nodes(wearing("cut", CUT), wearing("shared", SHARED))
    gpu_stage.upload("resnet50")
    gpu_stage.apply(gpu_service("strict", objective))

    (pod,) = gpu_stage.await_bound("strict")
    ladder = {rung["sliceClass"]: rung["meetsSLO"] for rung in gpu_stage.service("strict")["status"]["ladder"]}
    assert slice_of(pod) == LARGE
    assert {name for name, meets in ladder.items() if meets} == {LARGE}


def test_on_a_node_of_several_shared_gpus_the_worst_choice_of_the_kubelet_counts(gpu_stage: Stage) -> None:
    """Two T4 in two each, one tenant: the kubelet may put the newcomer beside it, though the other GPU is free; the event says so. An empty node takes it."""
    half = f"{T4}/mps-50"
    objective = round((law_ms(half) + law_ms(half, 1)) / 2)
    gpu_stage.add_nodes(wearing("pair", gpu_nodes.mps(T4, 2, 2, 15360)))
    gpu_stage.upload("resnet50")
    gpu_stage.apply(gpu_service("resident", 60_000, (half,)))
    gpu_stage.await_bound("resident")

    gpu_stage.apply(gpu_service("newcomer", objective, (half,)))
    gpu_stage.await_refusal("newcomer", "the kubelet picks the GPU; its worst choice counts")

    gpu_stage.add_nodes(wearing("empty", gpu_nodes.mps(T4, 1, 2, 15360)))
    (pod,) = gpu_stage.await_bound("newcomer")
    assert pod["spec"]["nodeName"] == "empty"


def test_labels_of_a_node_win_over_the_table_on_the_way_through_the_whole_system(gpu_stage: Stage) -> None:
    """A node that says its 1g.10gb has 7 multiprocessors, half of the table's, is judged by those: the same objective now needs the next size."""
    smaller = gpu_nodes.mig(A100, 81920, {"1g.10gb": (1, 9728, 7), "2g.20gb": (1, 19968, 28)})
    objective = round(law_ms(SMALL) * 1.3)
    gpu_stage.add_nodes(wearing("odd", smaller))
    gpu_stage.upload("resnet50")
    gpu_stage.apply(gpu_service("told", objective))

    (pod,) = gpu_stage.await_bound("told")
    assert slice_of(pod) == MIDDLE


def test_who_wants_measured_predictions_gets_no_slice_that_nobody_measured(gpu_stage: Stage) -> None:
    """A 1g.10gb is free, quick and cheap, and its prediction is extrapolated: skipped with that reason; who may choose among MIG only gets no place."""
    gpu_stage.add_nodes(wearing("cut", CUT), wearing("shared", SHARED))
    gpu_stage.upload("resnet50")
    exacting, cornered = gpu_service("exacting", 60_000), gpu_service("cornered", 60_000, (SMALL, MIDDLE))
    for service in (exacting, cornered):
        service["spec"].setdefault("placement", {})["minimumBasis"] = "measured"
    gpu_stage.apply(exacting, cornered)

    (pod,) = gpu_stage.await_bound("exacting")
    ladder = {rung["sliceClass"]: rung for rung in gpu_stage.service("exacting")["status"]["ladder"]}
    assert (slice_of(pod), pod["metadata"]["annotations"][keys.BASIS_ANNOTATION]) == (QUARTER, "measured")
    assert {name: rung.get("skipped") for name, rung in ladder.items()} == dict.fromkeys((SMALL, MIDDLE, LARGE), "BasisTooWeak") | {QUARTER: None}
    assert ladder[SMALL]["basis"] == "extrapolated"

    condition = gpu_stage.await_condition("cornered", "Placeable", "False")
    assert condition["reason"] == "PredictionUnknown"
    assert "the prediction is extrapolated, and spec.placement.minimumBasis is measured" in condition["message"]

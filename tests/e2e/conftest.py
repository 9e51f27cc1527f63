"""The whole system for end-to-end tests: our processes beside the real control plane, and an audit after every test."""

from collections.abc import Iterator, Mapping

import pytest
import yaml
from controlplane_clusters import Cluster
from stowplan_fleet import descriptors, keys
from stowplan_fleet.devices import CpuDevice
from support import components
from support.audits import audit
from support.components import CRD, SYSTEM_NAMESPACE, Extender
from support.controlplane import apply, own_namespace
from support.stages import EXAMPLES, Stage
from support.weathers import Weather, weather_before
from support.wiretaps import Wiretap, tapping


@pytest.fixture(scope="session")
def devices(controlplane: Cluster) -> Mapping[str, CpuDevice]:
    """The made-up devices of the examples, described to the cluster by their ConfigMap; CRD, service accounts and roles are there too."""
    controlplane.kubectl("apply", "-f", str(CRD))
    controlplane.kubectl("wait", "--for=condition=Established", "--timeout=20s", "crd/inferenceservices.stowplan.dev")
    snapshot = yaml.safe_load((EXAMPLES / "cluster.yaml").read_text())
    (described,) = (item for item in snapshot["items"] if keys.DESCRIPTORS_LABEL in item["metadata"].get("labels", {}))
    apply(controlplane, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}})
    metadata = {"name": "devices", "namespace": SYSTEM_NAMESPACE, "labels": described["metadata"]["labels"]}
    apply(controlplane, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": described["data"]})
    components.install_accounts(controlplane)
    return {key.removesuffix(".json"): descriptors.read_device(text.encode(), key) for key, text in described["data"].items()}


@pytest.fixture(scope="session")
def predictor_port(controlplane: Cluster) -> int:
    """The predictor, running, with the bundle that is shipped."""
    return components.start_predictor(controlplane)


@pytest.fixture(scope="session")
def weather(controlplane: Cluster) -> Iterator[Weather]:
    """Between the extender and the API server; good unless a test says otherwise."""
    with weather_before(controlplane) as found:
        yield found


@pytest.fixture(scope="session")
def extender(controlplane: Cluster, devices: Mapping[str, CpuDevice], predictor_port: int, weather: Weather) -> Extender:  # noqa: ARG001 -- the CRD must be there
    """The extender, running."""
    process = components.extender(controlplane, predictor_port, "stowplan-scheduler", weather.url)
    process.start()
    return process


@pytest.fixture(scope="session")
def operator(controlplane: Cluster, devices: Mapping[str, CpuDevice], predictor_port: int) -> None:  # noqa: ARG001 -- the CRD must be there first
    """The operator, running."""
    components.start_operator(controlplane, predictor_port, "stowplan-operator")


@pytest.fixture(scope="session")
def wiretap(extender_url: str, extender: Extender) -> Iterator[Wiretap]:
    """Between the scheduler and the extender."""
    with tapping(int(extender_url.rpartition(":")[2]), extender.port) as tap:
        yield tap


@pytest.fixture(autouse=True)
def _audited(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test leaves in the cluster keeps every promise; a stage is audited before it is cleared, too."""
    yield
    if "controlplane" in request.fixturenames and "devices" in request.fixturenames:
        assert audit(request.getfixturevalue("controlplane")) == []


@pytest.fixture
def stage(  # noqa: PLR0917 -- fixtures are given by name
    controlplane: Cluster,
    devices: Mapping[str, CpuDevice],
    wiretap: Wiretap,
    extender: Extender,
    operator: None,  # noqa: ARG001 -- runs beside
    predictor_port: int,
) -> Iterator[Stage]:
    """A stage for one test; whatever the test saw, the cluster's promises are audited at its end."""
    nodes: list[str] = []
    try:
        with own_namespace(controlplane, "e2e") as namespace:
            yield Stage(controlplane, namespace, wiretap, extender, predictor_port, devices, nodes)
            broken = audit(controlplane)
    finally:
        if nodes:
            controlplane.kubectl("delete", "node", "--ignore-not-found", "--timeout=20s", *nodes)
    assert broken == []

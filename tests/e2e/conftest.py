"""The whole system for end-to-end tests: our processes beside the real control plane, and an audit after every test."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from controlplane_clusters import Cluster
from stowplan_fleet import descriptors, keys
from stowplan_fleet.devices import CpuDevice
from support import api_definitions, components
from support.audits import audit
from support.components import SYSTEM_NAMESPACE, Extender, Operator, Predictor
from support.controlplane import apply, own_namespace, remove_nodes
from support.crews import Crew, await_view
from support.operators_in_weather import Scene, scene_on
from support.stages import EXAMPLES, Stage
from support.weathers import Weather, weather_before
from support.wiretaps import Wiretap, tapping

# Of a test with all its fixtures: on a busy machine the first one waits minutes for the whole system. What hangs is ended all the same.
_LIMIT_S = 900
_OURS = ("operator", "extender", "kube-scheduler-stowplan", "predictor")
_CREW = pytest.StashKey[Crew]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of this folder get time, and a second attempt: they drive a dozen programs that are not ours. No other test does, and each rerun is shown."""
    here = Path(__file__).parent
    for item in items:
        if here not in item.path.parents:
            continue
        limit = item.get_closest_marker("timeout")
        if limit is None or limit.args[0] < _LIMIT_S:
            item.add_marker(pytest.mark.timeout(_LIMIT_S), append=False)
        if item.get_closest_marker("controlplane"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """After the last test here ours are sent home: an operator that went on would look after other tests' services. Should one come later, they are back."""
    yield
    crew = item.config.stash.get(_CREW, None)
    if crew is not None and (nextitem is None or Path(__file__).parent not in nextitem.path.parents):
        crew.dismiss(_OURS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what had to be put right between tests."""
    crew = terminalreporter.config.stash.get(_CREW, None)
    for what in crew.mended if crew is not None else ():
        terminalreporter.write_line(f"MENDED {what}", yellow=True)


@pytest.fixture(scope="session")
def devices(controlplane: Cluster) -> Mapping[str, CpuDevice]:
    """The made-up devices of the examples, described to the cluster by their ConfigMap; CRD, service accounts and roles are there too."""
    api_definitions.serve(controlplane)
    snapshot = yaml.safe_load((EXAMPLES / "cluster.yaml").read_text())
    (described,) = (item for item in snapshot["items"] if keys.DESCRIPTORS_LABEL in item["metadata"].get("labels", {}))
    apply(controlplane, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}})
    metadata = {"name": "devices", "namespace": SYSTEM_NAMESPACE, "labels": described["metadata"]["labels"]}
    apply(controlplane, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": described["data"]})
    components.install_accounts(controlplane)
    return {key.removesuffix(".json"): descriptors.read_device(text.encode(), key) for key, text in described["data"].items()}


@pytest.fixture(scope="session")
def predictor(controlplane: Cluster) -> Predictor:
    """The predictor, running, with the bundle that is shipped."""
    process = components.predictor(controlplane)
    process.start()
    return process


@pytest.fixture(scope="session")
def predictor_port(predictor: Predictor) -> int:
    """Where the predictor serves."""
    return predictor.port


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
def operator(controlplane: Cluster, devices: Mapping[str, CpuDevice], predictor_port: int) -> Operator:  # noqa: ARG001 -- the CRD must be there first
    """The operator, running."""
    return components.start_operator(controlplane, predictor_port, "stowplan-operator")


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


@pytest.fixture(scope="session")
def crew(controlplane: Cluster, extender: Extender, operator: Operator, weather: Weather, request: pytest.FixtureRequest) -> Crew:
    """Everybody who plays on a stage."""
    predictor_port: int = request.getfixturevalue("predictor_port")
    ready = {
        "etcd": _always,
        "kube-apiserver": lambda: controlplane.answers("/readyz"),
        "kube-controller-manager": _always,
        "kwok": _always,
        "kube-scheduler-default-scheduler": _always,
        "kube-scheduler-stowplan": _always,
        "predictor": lambda: components.serves(predictor_port),
        extender.name: extender.is_ready,
        operator.name: operator.is_ready,
    }
    request.config.stash[_CREW] = found = Crew(controlplane, ready, weather)
    return found


def _always() -> bool:
    return True


@pytest.fixture
def stage(crew: Crew, devices: Mapping[str, CpuDevice], wiretap: Wiretap, extender: Extender, predictor_port: int) -> Iterator[Stage]:
    """A stage for one test; whatever the test saw, the cluster's promises are audited at its end, and the extender's view is held against the cluster."""
    cluster = crew.cluster
    crew.muster()
    extender.mark()
    try:
        with own_namespace(cluster, crew.prefix) as namespace:
            yield Stage(cluster, namespace, wiretap, extender, predictor_port, devices, crew.nodes)
            broken = audit(cluster)
    finally:
        if crew.nodes:
            remove_nodes(cluster, crew.nodes)
            crew.nodes.clear()
    assert broken == []
    await_view(cluster, extender)


@pytest.fixture
def scene(stage: Stage, tmp_path: Path) -> Iterator[Scene]:
    """A stage with a node, a model, and an operator of the test's own in place of the common one."""
    with scene_on(stage, tmp_path) as found:
        yield found

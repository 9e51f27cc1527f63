"""The whole system for end-to-end tests: our processes beside the real control plane, and an audit after every test."""

from collections.abc import Iterator, Mapping

import pytest
from controlplane_clusters import Cluster, free_ports
from stowplan_fleet import descriptors, keys
from stowplan_fleet.devices import CoreThroughput, CpuDevice
from stowplan_fleet.slices import DeviceName
from support import components, lawful_predictors
from support.audits import audit
from support.components import CRD, SYSTEM_NAMESPACE, Extender
from support.controlplane import apply, own_namespace
from support.stages import Stage
from support.wiretaps import Wiretap, tapping


def made_up_device(name: str, speed: float) -> CpuDevice:
    """A CPU nobody measured: a server core of 2023 with AVX-512 in round numbers, times a speed."""
    return CpuDevice(
        name=DeviceName(name),
        model="made up for tests",
        isa=("avx", "avx2", "avx512_vnni", "avx512bw", "avx512dq", "avx512f", "avx512vl", "fma"),
        cores=4,
        l1d_bytes=32 << 10,
        l2_bytes=1 << 20,
        l3_bytes=32 << 20,
        throughputs=tuple(CoreThroughput(cores, speed * 100e9 * cores, speed * 15e9 * cores) for cores in (1, 2)),
        dispatch_us={},
        fabricated=True,
    )


@pytest.fixture(scope="session")
def devices(controlplane: Cluster) -> Mapping[str, CpuDevice]:
    """Two made-up devices, described to the cluster by a ConfigMap; the CRD is there too."""
    described = {str(device.name): device for device in (made_up_device("made-up-quick", 1.0), made_up_device("made-up-slow", 0.25))}
    controlplane.kubectl("apply", "-f", str(CRD))
    controlplane.kubectl("wait", "--for=condition=Established", "--timeout=20s", "crd/inferenceservices.stowplan.dev")
    data = {f"{name}.json": descriptors.write_device(device).decode() for name, device in described.items()}
    metadata = {"name": "devices", "namespace": SYSTEM_NAMESPACE, "labels": {keys.DESCRIPTORS_LABEL: "true"}}
    apply(controlplane, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}})
    apply(controlplane, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return described


@pytest.fixture(scope="session")
def predictor_port() -> Iterator[int]:
    """A predictor."""
    (port,) = free_ports(1)
    with lawful_predictors.serve(port):
        yield port


@pytest.fixture(scope="session")
def extender(controlplane: Cluster, devices: Mapping[str, CpuDevice], predictor_port: int) -> Extender:  # noqa: ARG001 -- the CRD must be there first
    """The extender, running."""
    process = components.extender(controlplane, predictor_port)
    process.start()
    return process


@pytest.fixture(scope="session")
def operator(controlplane: Cluster, devices: Mapping[str, CpuDevice], predictor_port: int) -> None:  # noqa: ARG001 -- the CRD must be there first
    """The operator, running."""
    components.start_operator(controlplane, predictor_port)


@pytest.fixture(scope="session")
def wiretap(extender_url: str, extender: Extender) -> Iterator[Wiretap]:
    """Between the scheduler and the extender."""
    with tapping(int(extender_url.rpartition(":")[2]), extender.port) as tap:
        yield tap


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

"""What is fuzzed: requests of the scheduler, objects of the API server, model files. Each target takes bytes and must end in order, whatever they are.

In order means: an answer, or an error of our own tree. Anything else is a finding, as are a hang and memory that grows.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import msgspec
from stowplan_extender import wire
from stowplan_extender.errors import ExtenderError
from stowplan_extender.stores import DeviceStore, NodeStore, PodStore, ServiceStore
from stowplan_fleet import descriptors
from stowplan_fleet.errors import FleetError
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.objects import ListEnvelope, WatchEnvelope
from stowplan_predictor.errors import PredictorError
from stowplan_predictor.graphs import loading
from support import harbours, hostile_models
from support.quays import TOY_DEVICE, Quay
from support.synthetic_bundles import chain_model

Target = Callable[[bytes], None]
Opened = AbstractContextManager[Target]
# A quay that has seen so many inputs is let go, so that what grows is ours and not what inputs asked us to keep.
_RENEW_AFTER: Final = 5_000


class _Scene:
    """An extender with a small cluster, renewed now and then; everything runs on one loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._left = 0
        self.quay = Quay()

    def next(self) -> Quay:
        """The extender for the next input."""
        if self._left == 0:
            self._left = _RENEW_AFTER
            self.quay = Quay(ant=10.0, bee=8.0)
            self.quay.service("ant")
            self.quay.service("bee", slo_ms=500)
            for name in ("one", "two"):
                self.quay.node(name)
            self.quay.pod("p", "ant")
        self._left -= 1
        return self.quay


@contextmanager
def requests_target() -> Iterator[Target]:
    """Bytes that come in at /filter, /prioritize and /bind."""
    scene = _Scene()

    def target(data: bytes) -> None:
        quay = scene.next()

        async def filtered() -> bytes:
            return wire.write(await quay.verbs.filter(wire.read_args(data)))

        async def prioritized() -> bytes:
            return wire.write(await quay.verbs.prioritize(wire.read_args(data)))

        async def bound() -> bytes:
            await quay.verbs.bind(wire.read_binding_args(data))
            return b"{}"

        for verb in (filtered, prioritized, bound):
            try:
                json.loads(scene.loop.run_until_complete(verb()))
            except (ExtenderError, FleetError):
                continue

    with contextlib.closing(scene.loop):
        yield target


@contextmanager
def objects_target() -> Iterator[Target]:
    """Bytes that come over a watch or in a list as a node, a pod, a service and a ConfigMap; a filter is asked afterwards, and answers."""
    scene = _Scene()

    def target(data: bytes) -> None:
        quay = scene.next()
        view, metrics = quay.view, quay.metrics
        try:
            items = [decoding.from_json(b'{"type":"ADDED","object":' + data + b"}", WatchEnvelope).object]
            items += decoding.from_json(b'{"items":[' + data + b"]}", ListEnvelope).items or ()
        except FleetError:
            return
        for store in (NodeStore(view, metrics), PodStore(view, metrics), ServiceStore(view, metrics), DeviceStore(view, metrics, lambda _: None)):
            for item in items:
                try:
                    store.put(item)
                    store.drop(item)
                    store.put(item)
                except FleetError:
                    continue
            store.settle()
        try:
            scene.loop.run_until_complete(quay.verbs.filter(quay.args("p", "one", "two")))
        except (ExtenderError, FleetError):
            return

    with contextlib.closing(scene.loop):
        yield target


@contextmanager
def models_target() -> Iterator[Target]:
    """Bytes that a tenant calls a model."""

    def target(data: bytes) -> None:
        try:
            loading.load_graph(data, {})
        except PredictorError:
            return

    yield target


def seeds() -> Mapping[str, Sequence[bytes]]:
    """Sound inputs (and some that are hostile already) to start from, by target."""
    pod = harbours.pod_json("p", "ant")
    args = {"Pod": pod, "Nodes": None, "NodeNames": ["one", "two", "three"]}
    binding = {"PodName": "p", "PodNamespace": "vision", "PodUID": "uid-p", "Node": "one"}
    described = {
        "metadata": {"name": "devices", "namespace": "stowplan-system", "labels": {"stowplan.dev/device-descriptors": "true"}},
        "data": {"toy-cpu.json": descriptors.write_device(TOY_DEVICE).decode()},
    }
    gpu = harbours.node_json("gpu")
    gpu["metadata"]["labels"] |= {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", "nvidia.com/gpu.memory": "81920", "nvidia.com/gpu.count": "2"}
    gpu["status"]["allocatable"] |= {"nvidia.com/gpu": "2", "nvidia.com/mig-1g.10gb": "7"}
    objects = [pod, harbours.pod_json("q", None, node_name="one"), harbours.node_json("one"), gpu, harbours.service_json("ant"), described]
    models = [
        chain_model(),
        chain_model(4, 8, 1),
        hostile_models.chain(5),
        hostile_models.vast_shape(),
        hostile_models.deep_branches(5),
        hostile_models.endless("Loop"),
    ]
    return {
        "requests": [msgspec.json.encode(item) for item in (args, binding)],
        "objects": [msgspec.json.encode(item) for item in objects],
        "models": models,
    }


TARGETS: Final[Mapping[str, Callable[[], Opened]]] = {"requests": requests_target, "objects": objects_target, "models": models_target}

"""What is fuzzed: requests of the scheduler, objects of the API server, services, model files. Each target takes bytes and must end in order, whatever
they are.

In order means: an answer, or an error of our own tree. Anything else is a finding, as are a hang and memory that grows.
"""

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from stowplan_extender import wire
from stowplan_extender.cluster.stores import DeviceStore, NodeStore, PodStore, ServiceStore
from stowplan_extender.errors import ExtenderError
from stowplan_fleet.errors import FleetError
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.objects import ListEnvelope, WatchEnvelope
from stowplan_predictor.errors import PredictorError
from stowplan_predictor.fusion.serving import FusionSource
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.pipelines.analyses import analysed
from stowplan_predictor.pipelines.cuts import RULES, Cuts
from stowplan_predictor.serving import frames
from stowplan_predictor.serving.settings import Analysis
from support.fuzz_scenes import ExtenderScene
from support.fuzz_services import services_target
from support.model_mutations import mutated_model
from support.mutations import mutated

Target = Callable[[bytes], None]
Opened = AbstractContextManager[Target]
# As the process that reads files has them by default.
LIMITS: Final = Analysis().limits


@contextmanager
def requests_target() -> Iterator[Target]:
    """Bytes that come in at /filter, /prioritize and /bind."""
    scene = ExtenderScene()

    def target(data: bytes) -> None:
        quay = scene.next()

        async def answered() -> None:
            with contextlib.suppress(ExtenderError, FleetError):
                args = wire.read_args(data)
                json.loads(wire.write(await quay.verbs.filter(args)))
                json.loads(wire.write(await quay.verbs.prioritize(args)))
            with contextlib.suppress(ExtenderError, FleetError):
                await quay.verbs.bind(wire.read_binding_args(data))

        scene.loop.run_until_complete(answered())

    with contextlib.closing(scene.loop):
        yield target


@contextmanager
def objects_target() -> Iterator[Target]:
    """Bytes that come over a watch or in a list as a node, a pod, a service and a ConfigMap; a filter is asked afterwards, and answers."""
    scene = ExtenderScene()

    def target(data: bytes) -> None:
        quay = scene.next()
        view, metrics = quay.view, quay.metrics
        try:
            items = [decoding.from_json(b'{"type":"ADDED","object":' + data + b"}", WatchEnvelope).object]
            items += decoding.from_json(b'{"items":[' + data + b"]}", ListEnvelope).items or ()
        except FleetError:
            return
        for store in (NodeStore(view, metrics), PodStore(view, metrics), ServiceStore(view, metrics), DeviceStore(view, metrics, lambda _: None)):
            for change, item in zip((store.put, store.drop, store.put), (items[0], items[0], items[-1]), strict=True):
                with contextlib.suppress(FleetError):
                    change(item)
            store.settle()
        try:
            scene.loop.run_until_complete(quay.verbs.filter(quay.args("p", "one", "two")))
        except (ExtenderError, FleetError):
            return

    with contextlib.closing(scene.loop):
        yield target


@contextmanager
def models_target() -> Iterator[Target]:
    """Bytes that a tenant calls a model: read, cut into kernels and packed up, as the process that reads files does it."""
    cuts = Cuts((*RULES, FusionSource(FusionTable.operators())))

    def target(data: bytes) -> None:
        with contextlib.suppress(PredictorError):
            frames.encode(analysed(data, {}, LIMITS, cuts=cuts))

    yield target


TARGETS: Final[Mapping[str, Callable[[], Opened]]] = {
    "requests": requests_target,
    "objects": objects_target,
    "services": services_target,
    "models": models_target,
}
MUTATORS: Final[Mapping[str, Callable[[bytes, random.Random, int], bytes]]] = {**dict.fromkeys(TARGETS, mutated), "models": mutated_model}

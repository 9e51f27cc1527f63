"""Services as they are fuzzed: a spec and a status that nobody has checked, looked at by the operator and read by the extender.

What the API server sees to is given: metadata, JSON of sound text and numbers, a status that fits the definition's schema. All else is the tenant's, the
pod template first of all, of which the definition checks nothing.
"""

import asyncio
import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from stowplan_extender.cluster.stores import ServiceStore
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.metrics import Metrics
from stowplan_operator.reconciling.reconcilers import FOREVER
from support.fake_operator_worlds import NAMESPACE
from support.operator_scenes import Scene
from support.structural_schemas import allows, definition
from support.virtual_clocks import HandClock

# What etcd takes of one object by default is 1.5 MiB; a status that repeats what a tenant wrote must stay far below.
_STATUS_BYTES_MAX: Final = 256 << 10


class ServiceBroken(AssertionError):
    """What no service may bring about."""


@contextmanager
def services_target() -> Iterator[Callable[[bytes], None]]:
    """`{"spec": ..., "status": ...}` of an InferenceService."""
    scene, loop = Scene(), asyncio.new_event_loop()
    base, number = copy.deepcopy(scene.world.objects[scene.name]), 0

    def target(data: bytes) -> None:
        nonlocal number
        try:
            given = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if not isinstance(given, dict) or not isinstance(given.get("spec"), dict) or not isinstance(given.get("status", {}), dict):
            return
        try:
            if not allows(definition()["status"], given.get("status", {})):
                return
        except RecursionError:
            return
        number += 1
        body = {**base, "metadata": {**base["metadata"], "uid": f"uid-{number}"}, "spec": given["spec"], "status": given.get("status", {})}
        _look(scene, loop, body)
        _read(body)

    with contextlib.closing(loop):
        yield target


def _look(scene: Scene, loop: asyncio.AbstractEventLoop, body: dict[str, Any]) -> None:
    world = scene.world
    world.objects[scene.name] = body
    for held in (world.stored, world.events, world.writes):
        held.clear()
    delay_s = loop.run_until_complete(scene.look())
    status = world.objects[scene.name]["status"]
    if any(condition.get("reason") == "InternalError" for condition in status.get("conditions") or ()):
        world.objects[scene.name] = body
        loop.run_until_complete(scene.reconciler._look(body))
        raise ServiceBroken("the operator failed once and not again")
    size = len(json.dumps(status))
    if size > _STATUS_BYTES_MAX + len(json.dumps(body["status"])):
        raise ServiceBroken(f"a status of {size} bytes")
    if delay_s is None:
        return
    # Whoever settled has nothing to write at the next look.
    world.writes.clear()
    again_s = loop.run_until_complete(scene.look())
    if world.writes or (again_s is None) or (again_s == FOREVER) != (delay_s == FOREVER):
        raise ServiceBroken(f"the second look wrote {world.writes}, and comes again after {again_s} s (first {delay_s} s)")


def _read(body: dict[str, Any]) -> None:
    """The extender reads it; a view of its own, for what is refused is gone at once."""
    store = ServiceStore(ClusterView(HandClock(), 60.0), _METRICS)
    item = msgspec.Raw(msgspec.json.encode(body))
    if store.put(item) != f"{NAMESPACE}/{body['metadata']['name']}":
        raise ServiceBroken("the extender calls the service by another name")
    store.drop(item)


_METRICS: Final = Metrics()

"""Watches: what kopf lists and watches for us, what is kept of it, and who is looked at when something changes.

Only indices and event handlers are registered. Neither writes anything to the objects: no finalizer, no annotation (`kopf._core.reactor.processing`
adds a finalizer for daemons, timers and deletion handlers only); a test holds this.
"""

from collections.abc import Callable, Mapping
from typing import Any

import kopf
from stowplan_fleet import keys
from stowplan_fleet.errors import ManifestRefused
from stowplan_fleet.manifests.decoding import from_plain
from stowplan_fleet.manifests.nodes import NodeManifest
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.services import ServiceName

from stowplan_operator.reconciling.views import DESCRIPTORS, ConfigMapState, KopfViews
from stowplan_operator.settings import ApiSettings
from stowplan_operator.workloads import deployments
from stowplan_operator.workloads.deployments import DeploymentState

Body = Mapping[str, Any]
SERVICES = (keys.GROUP, keys.VERSION, keys.PLURAL)


def name_of(body: Body) -> ServiceName:
    """`namespace/name`."""
    return ServiceName(f"{body['metadata'].get('namespace', '')}/{body['metadata']['name']}")


class Watches:
    """Handlers for one operator, in a registry of its own."""

    def __init__(self, settings: ApiSettings, add: Callable[[ServiceName], None]) -> None:
        """Registers everything.

        Args:
            settings: where descriptors are looked for.
            add: called with a service that is to be looked at.
        """
        self.registry = kopf.OperatorRegistry()
        self.views: KopfViews | None = None
        """Set before the first event is handled; the indices are complete then."""
        self._settings = settings
        self._add = add
        self._nodes: dict[str, NodeManifest] = {}
        self._descriptors: dict[str, ConfigMapState] = {}
        self._index()
        self._listen()

    def _index(self) -> None:
        registry = self.registry
        always: dict[str, Any] = {"registry": registry, "errors": kopf.ErrorsMode.PERMANENT}

        @kopf.index(*SERVICES, id="services", **always)
        def services(body: kopf.Body, **_: object) -> dict[str, Any]:
            return {name_of(body): _plain(body)}

        @kopf.index("v1", "nodes", id="nodes", **always)
        def nodes(body: kopf.Body, **_: object) -> dict[str, NodeManifest] | None:
            try:
                return {str(body["metadata"]["name"]): from_plain(_plain(body), NodeManifest)}
            except ManifestRefused:
                return None

        @kopf.index("v1", "pods", id="pods", labels={keys.SERVICE_LABEL: kopf.PRESENT}, **always)
        def pods(body: kopf.Body, **_: object) -> dict[str, PodManifest] | None:
            try:
                return {_service_of(body): from_plain(_plain(body), PodManifest)}
            except ManifestRefused:
                return None

        @kopf.index("v1", "configmaps", id="configmaps", **always)
        def configmaps(body: kopf.Body, **_: object) -> dict[str, ConfigMapState]:
            return {name_of(body): self._state(body)}

        @kopf.index("v1", "configmaps", id=DESCRIPTORS, labels={keys.DESCRIPTORS_LABEL: "true"}, **always)
        def descriptors_(body: kopf.Body, **_: object) -> dict[str, ConfigMapState] | None:
            state = self._state(body)
            return None if state.descriptors is None else {name_of(body): state}

        @kopf.index("apps", "v1", "deployments", id="deployments", labels={keys.SERVICE_LABEL: kopf.PRESENT}, **always)
        def deployments_(body: kopf.Body, **_: object) -> dict[str, DeploymentState]:
            return {name_of(body): deployments.state_of(_plain(body))}

    def _listen(self) -> None:
        registry = self.registry

        @kopf.on.event(*SERVICES, registry=registry)
        def service_changed(body: kopf.Body, **_: object) -> None:
            self._add(name_of(body))

        @kopf.on.event("v1", "pods", labels={keys.SERVICE_LABEL: kopf.PRESENT}, registry=registry)
        def pod_changed(body: kopf.Body, **_: object) -> None:
            self._add(_service_of(body))

        @kopf.on.event("apps", "v1", "deployments", labels={keys.SERVICE_LABEL: kopf.PRESENT}, registry=registry)
        def deployment_changed(body: kopf.Body, **_: object) -> None:
            self._add(name_of(body))

        @kopf.on.event("v1", "nodes", registry=registry)
        def node_changed(type: str | None, body: kopf.Body, **_: object) -> None:  # noqa: A002 -- named by kopf
            name = str(body["metadata"]["name"])
            before = self._nodes.pop(name, None)
            if type != "DELETED":
                self._nodes[name] = _sizing_part(_plain(body))
            if before != self._nodes.get(name):
                if self.views is not None:
                    self.views.nodes_changed()
                self._add_all()

        @kopf.on.event("v1", "configmaps", registry=registry)
        def configmap_changed(type: str | None, body: kopf.Body, **_: object) -> None:  # noqa: A002 -- named by kopf
            name, state = str(name_of(body)), self._state(body)
            before = self._descriptors.pop(name, None)
            if state.descriptors is not None and type != "DELETED":
                self._descriptors[name] = state
            if before != self._descriptors.get(name):
                self._add_all()
            for service, found in self._services():
                if str(service).partition("/")[0] == body["metadata"]["namespace"] and f"//{body['metadata']['name']}/" in _uri_of(found):
                    self._add(service)

    def _state(self, body: Body) -> ConfigMapState:
        metadata = body["metadata"]
        wanted = (metadata.get("labels") or {}).get(keys.DESCRIPTORS_LABEL) == "true"
        here = self._settings.descriptors_namespace in {"", metadata.get("namespace")}
        data = {str(key): str(text) for key, text in (body.get("data") or {}).items()} if wanted and here else None
        return ConfigMapState(str(name_of(body)), str(metadata.get("uid", "")), str(metadata.get("resourceVersion", "")), data)

    def _services(self) -> list[tuple[ServiceName, Body]]:
        if self.views is None:
            return []
        found = [(name, self.views.service(name)) for name in self.views.services()]
        return [(name, body) for name, body in found if body is not None]

    def _add_all(self) -> None:
        for name, _ in self._services():
            self._add(name)


def _plain(body: Body) -> dict[str, Any]:
    # kopf's view of a body stays live; a copy of its top level is the body as it was seen now.
    return {key: body[key] for key in body}


def _service_of(pod: Body) -> ServiceName:
    return ServiceName(f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['labels'][keys.SERVICE_LABEL]}")


def _uri_of(service: Body) -> str:
    spec = service.get("spec")
    model = spec.get("model") if isinstance(spec, Mapping) else None
    return str(model.get("uri", "")) if isinstance(model, Mapping) else ""


def _sizing_part(body: Body) -> NodeManifest:
    """What of a node matters for ladders; heartbeats and images do not."""
    try:
        node = from_plain(body, NodeManifest)
    except ManifestRefused:
        return NodeManifest()
    ready = [type(condition)(type=condition.type, status=condition.status) for condition in node.status.conditions if condition.type == "Ready"]
    metadata = type(node.metadata)(name=node.metadata.name, labels=node.metadata.labels)
    return NodeManifest(metadata=metadata, spec=node.spec, status=type(node.status)(allocatable=node.status.allocatable, conditions=ready))

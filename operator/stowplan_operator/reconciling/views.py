"""Views: what the watches have seen, as the reconciler reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import kopf
from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.manifests.nodes import NodeManifest
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.services import ServiceName
from stowplan_fleet.slices import DeviceName

from stowplan_operator.workloads.deployments import DeploymentState


@dataclass(frozen=True, slots=True)
class ConfigMapState:
    """The part of a ConfigMap that is kept: models stay in the API server until they are analysed."""

    name: str
    """`namespace/name`."""
    version: str
    descriptors: Mapping[str, str] | None
    """Its data where it holds device descriptors, else None."""


class Views(Protocol):
    """The cluster as last seen; may lag behind."""

    def service(self, name: ServiceName) -> Mapping[str, Any] | None:
        """An InferenceService as the API server sent it; None where it is gone."""

    def services(self) -> Sequence[ServiceName]:
        """All of them."""

    def nodes(self) -> Sequence[NodeManifest]:
        """All of them."""

    def pods(self, name: ServiceName) -> Sequence[PodManifest]:
        """Of one service."""

    def deployment(self, name: ServiceName) -> DeploymentState | None:
        """The Deployment of that name, whoever owns it."""

    def configmap_version(self, name: str) -> str | None:
        """Changes when the ConfigMap `namespace/name` does; None where there is none."""

    def devices(self) -> tuple[dict[DeviceName, CpuDevice], list[str]]:
        """Descriptors, and what could not be read of them."""


class KopfViews:
    """Implements `Views` on kopf's indices, which are live and complete before the first handler runs."""

    def __init__(self, indices: Mapping[str, kopf.Index[Any, Any]]) -> None:
        self._indices = indices
        self._read: tuple[tuple[ConfigMapState, ...], tuple[dict[DeviceName, CpuDevice], list[str]]] = ((), ({}, []))

    def service(self, name: ServiceName) -> Mapping[str, Any] | None:
        """An InferenceService as the API server sent it; None where it is gone."""
        found: Mapping[str, Any] | None = self._first("services", name)
        return found

    def services(self) -> Sequence[ServiceName]:
        """All of them."""
        return list(self._indices["services"])

    def nodes(self) -> Sequence[NodeManifest]:
        """All of them, by name."""
        index = self._indices["nodes"]
        return [node for name in sorted(index) for node in index[name]]

    def pods(self, name: ServiceName) -> Sequence[PodManifest]:
        """Of one service, by name."""
        return sorted(self._indices["pods"].get(name, ()), key=lambda pod: str(pod.metadata.name))

    def deployment(self, name: ServiceName) -> DeploymentState | None:
        """The Deployment of that name, whoever owns it."""
        found: DeploymentState | None = self._first("deployments", name)
        return found

    def configmap_version(self, name: str) -> str | None:
        """Changes when the ConfigMap `namespace/name` does; None where there is none."""
        found: ConfigMapState | None = self._first("configmaps", name)
        return None if found is None else found.version

    def devices(self) -> tuple[dict[DeviceName, CpuDevice], list[str]]:
        """Descriptors, the first ConfigMap by (namespace, name) winning, and what could not be read; read anew only where a ConfigMap changed."""
        index = self._indices["configmaps"]
        states = tuple(state for name in sorted(index, key=lambda name: str(name).split("/")) for state in index[name] if state.descriptors is not None)
        if states != self._read[0]:
            self._read = (states, read_states(states))
        return self._read[1]

    def _first(self, index: str, key: str) -> Any:  # noqa: ANN401 - whatever that index holds
        return next(iter(self._indices[index].get(key, ())), None)


def read_states(states: Sequence[ConfigMapState]) -> tuple[dict[DeviceName, CpuDevice], list[str]]:
    """The descriptors in ConfigMaps, given in order of (namespace, name).

    Of two with one device name and different content the first one counts, and the other is a problem. The extender must choose the same one, or the
    rung would be sized for another device than its nodes are judged by.
    """
    return descriptors.collect(
        (f"ConfigMap {state.name}, key {key}", key.removesuffix(".json"), text.encode())
        for state in states
        for key, text in sorted((state.descriptors or {}).items())
        if key.endswith(".json")
    )

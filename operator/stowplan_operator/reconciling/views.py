"""Views: what the watches have seen, as the reconciler reads it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

import kopf
from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.manifests.nodes import NodeManifest
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.services import ServiceName
from stowplan_fleet.slices import DeviceName

from stowplan_operator.workloads.deployments import DeploymentState

# Index of the ConfigMaps that hold descriptors; among all ConfigMaps of a cluster they are few.
DESCRIPTORS: Final = "descriptors"


class Kind(StrEnum):
    """Kinds that are watched; each has an index of that name."""

    SERVICES = "services"
    NODES = "nodes"
    PODS = "pods"
    CONFIGMAPS = "configmaps"
    DEPLOYMENTS = "deployments"

    @property
    def belongs_to_a_service(self) -> bool:
        """True where an object concerns one service only."""
        return self not in {Kind.NODES, Kind.CONFIGMAPS}


@dataclass(frozen=True, slots=True)
class ConfigMapState:
    """The part of a ConfigMap that is kept: models stay in the API server until they are analysed."""

    name: str
    """`namespace/name`."""
    uid: str
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

    @property
    def nodes_version(self) -> object:
        """Differs from what it was where a node changed in what matters for ladders."""

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
        self._nodes_changes = 0
        # What the indices still show though it is gone, by kind and UID.
        self._dropped: dict[Kind, set[str]] = {kind: set() for kind in Kind}

    def service(self, name: ServiceName) -> Mapping[str, Any] | None:
        """An InferenceService as the API server sent it; None where it is gone."""
        found: Mapping[str, Any] | None = self._first(Kind.SERVICES, name)
        return found

    def services(self) -> Sequence[ServiceName]:
        """All of them."""
        return list(self._indices[Kind.SERVICES])

    def nodes(self) -> Sequence[NodeManifest]:
        """All of them, by name."""
        index = self._indices[Kind.NODES]
        return [node for name in sorted(index) for node in self._present(Kind.NODES, index[name])]

    @property
    def nodes_version(self) -> object:
        """Differs from what it was where a node changed in what matters for ladders."""
        return self._nodes_changes

    def nodes_changed(self) -> None:
        """A node changed in what matters for ladders."""
        self._nodes_changes += 1

    def pods(self, name: ServiceName) -> Sequence[PodManifest]:
        """Of one service, by name."""
        return sorted(self._present(Kind.PODS, self._indices[Kind.PODS].get(name, ())), key=lambda pod: str(pod.metadata.name))

    def deployment(self, name: ServiceName) -> DeploymentState | None:
        """The Deployment of that name, whoever owns it."""
        found: DeploymentState | None = self._first(Kind.DEPLOYMENTS, name)
        return found

    def configmap_version(self, name: str) -> str | None:
        """Changes when the ConfigMap `namespace/name` does; None where there is none."""
        found: ConfigMapState | None = self._first(Kind.CONFIGMAPS, name)
        return None if found is None else found.version

    def devices(self) -> tuple[dict[DeviceName, CpuDevice], list[str]]:
        """Descriptors, the first ConfigMap by (namespace, name) winning, and what could not be read; read anew only where a ConfigMap changed."""
        index = self._indices[DESCRIPTORS]
        names = sorted(index, key=lambda name: str(name).split("/"))
        states = tuple(state for name in names for state in self._present(Kind.CONFIGMAPS, index[name]))
        if states != self._read[0]:
            self._read = (states, read_states(states))
        return self._read[1]

    def uids(self, kind: Kind) -> dict[str, ServiceName | None]:
        """Everything of a kind that is shown, by UID, with the service it concerns where that is one."""
        index = self._indices[kind]
        return {_uid_of(item): ServiceName(str(key)) if kind.belongs_to_a_service else None for key in index for item in self._present(kind, index[key])}

    def drop(self, kind: Kind, uids: Iterable[str]) -> None:
        """Shows these no more: they are gone, and no watch will tell. UIDs never come back; those that the index forgot by itself are forgotten here too."""
        index = self._indices[kind]
        kept = {_uid_of(item) for key in index for item in index[key]}
        self._dropped[kind] = (self._dropped[kind] | set(uids)) & kept
        self._nodes_changes += kind is Kind.NODES

    def _present(self, kind: Kind, items: Iterable[Any]) -> list[Any]:
        dropped = self._dropped[kind]
        return [item for item in items if not dropped or _uid_of(item) not in dropped]

    def _first(self, kind: Kind, key: str) -> Any:  # noqa: ANN401 - whatever that index holds
        return next(iter(self._present(kind, self._indices[kind].get(key, ()))), None)


def _uid_of(item: Any) -> str:  # noqa: ANN401 - whatever an index holds
    match item:
        case Mapping():
            return str(item["metadata"].get("uid", ""))
        case NodeManifest() | PodManifest():
            return item.metadata.uid
        case _:
            return str(item.uid)


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

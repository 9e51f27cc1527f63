"""Snapshots: a cluster as `kubectl get nodes,pods,inferenceservices.stowplan.dev,configmaps -A -o yaml` printed it, read object by object."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from stowplan_extender.cluster import lodgings
from stowplan_extender.cluster.lodgings import PodRecord
from stowplan_extender.decision.occupancies import PodUid
from stowplan_fleet import descriptors, keys
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.errors import ValueRefused
from stowplan_fleet.manifests import decoding, pods
from stowplan_fleet.manifests.configmaps import ConfigMapManifest
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.manifests.nodes import NodeManifest
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.manifests.services import service_of
from stowplan_fleet.services import ServiceName
from stowplan_fleet.slices import DeviceName

from stowplan_cli.objects import documents
from stowplan_cli.terminal.exits import Refused

T = TypeVar("T")


@dataclass(slots=True)
class Snapshot:
    """What was read of a cluster."""

    nodes: list[NodeManifest] = field(default_factory=list)
    records: list[PodRecord] = field(default_factory=list)
    """Pods that stand on a node."""
    services: dict[ServiceName, InferenceServiceManifest] = field(default_factory=dict)
    configmaps: dict[str, ConfigMapManifest] = field(default_factory=dict)
    """By `namespace/name`."""
    devices: dict[DeviceName, CpuDevice] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """Objects that could not be read: each is left out, and touches no other."""


def read_snapshot(path: Path, devices_dir: Path | None) -> Snapshot:
    """Reads a snapshot, and descriptors from a directory beside those in its ConfigMaps.

    Raises:
        Refused: the file or the directory cannot be read, or holds no node.
    """
    snapshot = snapshot_of(documents.read_objects(path), devices_dir)
    if not snapshot.nodes:
        raise Refused(f"{path}: it holds no node; write it with kubectl get nodes,pods,{keys.PLURAL}.{keys.GROUP},configmaps -A -o yaml")
    return snapshot


def snapshot_of(objects: Iterable[dict[str, Any]], devices_dir: Path | None = None) -> Snapshot:
    """Reads objects one by one; what cannot be read becomes a problem."""
    snapshot = Snapshot()
    for item in objects:
        _add(snapshot, item)
    _add_devices(snapshot, devices_dir)
    return snapshot


def read_services(path: Path) -> list[InferenceServiceManifest]:
    """The InferenceServices of a file, in its order; one without a namespace is in `default`.

    Raises:
        Refused: the file cannot be read, holds none, or the same one twice.
        ManifestRefused: one is not acceptable.
    """
    found: dict[str, InferenceServiceManifest] = {}
    for item in documents.read_objects(path):
        if not _is_ours(item):
            continue
        manifest = service_manifest(item)
        name = service_of(manifest).name
        if name in found:
            raise Refused(f"{path}: InferenceService {name} stands there twice; remove one")
        found[name] = manifest
    if not found:
        raise Refused(f"{path}: it holds no {keys.KIND} of {keys.GROUP}")
    return list(found.values())


def service_manifest(item: dict[str, Any]) -> InferenceServiceManifest:
    """An InferenceService as it stands in a file.

    Raises:
        ManifestRefused: it lacks a field or holds a wrong one.
    """
    metadata = item.get("metadata")
    if isinstance(metadata, dict) and metadata.get("name"):
        item = {**item, "metadata": {"namespace": "default", **metadata}}
    manifest = decoding.from_plain(item, InferenceServiceManifest, _where(item))
    if not manifest.metadata.name:
        raise Refused("an InferenceService has no metadata.name; give it one")
    return manifest


def _add(snapshot: Snapshot, item: dict[str, Any]) -> None:
    kind = item["kind"]
    if kind == "Node":
        _read(snapshot, item, NodeManifest, snapshot.nodes.append)
    elif kind == "Pod":
        _read(snapshot, item, PodManifest, lambda pod: _add_pod(snapshot, pod))
    elif kind == "ConfigMap":
        _read(snapshot, item, ConfigMapManifest, lambda found: snapshot.configmaps.update({found.metadata.full_name: found}))
    elif _is_ours(item):
        try:
            manifest = service_manifest(item)
            snapshot.services[service_of(manifest).name] = manifest
        except (ValueRefused, Refused) as error:
            snapshot.problems.append(str(error))


def _add_pod(snapshot: Snapshot, pod: PodManifest) -> None:
    if pod.spec.node_name and not pods.is_finished(pod):
        record = lodgings.record_of(pod)
        # Snapshots that people write have no UIDs; the name tells pods apart as well.
        uid = record.uid or PodUid(record.name)
        snapshot.records.append(PodRecord(uid, record.name, record.node, record.requests, record.service, record.slice_class, record.problem))


def _read(snapshot: Snapshot, item: dict[str, Any], kind: type[T], add: Callable[[T], None]) -> None:
    try:
        add(decoding.from_plain(item, kind, _where(item)))
    except ValueRefused as error:
        snapshot.problems.append(str(error))


def _add_devices(snapshot: Snapshot, devices_dir: Path | None) -> None:
    found: list[tuple[str, str, bytes]] = list(_device_files(devices_dir)) if devices_dir else []
    for name, configmap in snapshot.configmaps.items():
        if configmap.metadata.labels.get(keys.DESCRIPTORS_LABEL) == "true":
            entries = ((key, text) for key, text in configmap.data.items() if key.endswith(".json"))
            found += [(f"ConfigMap {name}, key {key}", key.removesuffix(".json"), text.encode()) for key, text in entries]
    snapshot.devices, problems = descriptors.collect(found)
    snapshot.problems += problems


def _device_files(folder: Path) -> Iterable[tuple[str, str, bytes]]:
    try:
        return [(str(file), file.stem, file.read_bytes()) for file in sorted(folder.iterdir()) if file.suffix == ".json" and file.is_file()]
    except OSError as error:
        raise Refused(f"--devices {folder}: cannot be read ({error.strerror}); name a directory of `stowplan device -o json` files") from error


def _is_ours(item: dict[str, Any]) -> bool:
    return item["kind"] == keys.KIND and str(item.get("apiVersion", "")).startswith(f"{keys.GROUP}/")


def _where(item: dict[str, Any]) -> str:
    metadata = item.get("metadata")
    name = metadata.get("name", "without a name") if isinstance(metadata, dict) else "without a name"
    namespace = f"{metadata['namespace']}/" if isinstance(metadata, dict) and metadata.get("namespace") else ""
    return f"{item['kind']} {namespace}{name}"

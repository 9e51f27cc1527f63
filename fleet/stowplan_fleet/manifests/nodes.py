"""Nodes: what is read of them, and their inventory."""

import msgspec

from stowplan_fleet import nodes
from stowplan_fleet.manifests.decoding import Manifest
from stowplan_fleet.manifests.objects import Condition, Metadata, QuantityText


class Taint(Manifest, frozen=True):
    """Keeps pods off that do not tolerate it."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(Manifest, frozen=True):
    """The part of a node's spec that is read."""

    unschedulable: bool = False
    taints: list[Taint] = msgspec.field(default_factory=list)


class NodeStatus(Manifest, frozen=True):
    """The part of a node's status that is read."""

    allocatable: dict[str, QuantityText] = msgspec.field(default_factory=dict)
    conditions: list[Condition] = msgspec.field(default_factory=list)


class NodeManifest(Manifest, frozen=True):
    """A node."""

    metadata: Metadata = Metadata()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


def is_ready(node: NodeManifest) -> bool:
    """True where the kubelet says so; a node that never said anything is not ready."""
    return any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions)


def inventory_of(node: NodeManifest) -> nodes.NodeInventory:
    """What the node has to offer; what cannot be read is among its problems."""
    allocatable = {name: str(quantity) for name, quantity in node.status.allocatable.items()}
    return nodes.read_inventory(node.metadata.name, node.metadata.labels, allocatable)

"""Devices: what descriptors in ConfigMaps say of them, and what nodes' labels say of their GPUs."""

from collections.abc import Iterable, Mapping

from stowplan_fleet.devices import Device, GpuDevice, merged_gpus
from stowplan_fleet.nodes import NodeInventory, NodeName
from stowplan_fleet.slices import DeviceName


class DeviceBook:
    """Devices by name, from every source."""

    def __init__(self) -> None:
        self._described: dict[str, Mapping[DeviceName, Device]] = {}
        self._devices: dict[DeviceName, Device] = {}
        self._contested: frozenset[DeviceName] = frozenset()
        self._labelled: dict[DeviceName, dict[NodeName, GpuDevice]] = {}
        """What the labels of each node say of its GPU."""
        self._gpus: dict[DeviceName, GpuDevice] = {}
        """What that comes to; made when it is asked for."""

    def __len__(self) -> int:
        """How many descriptors there are, in all sources."""
        return sum(map(len, self._described.values()))

    def find(self, name: DeviceName) -> Device | None:
        """A device by name: a descriptor, or else what nodes' labels say of their GPU; None where nobody describes it."""
        found = self._devices.get(name)
        if found is not None:
            return found
        told = self._labelled.get(name)
        if not told:
            return None
        if name not in self._gpus:
            # Of nodes whose labels disagree the smaller size counts, as for the operator: what is judged must hold on each of them.
            self._gpus[name] = merged_gpus(told[holder] for holder in sorted(told))[name]
        return self._gpus[name]

    @property
    def contested(self) -> frozenset[DeviceName]:
        """Devices that several ConfigMaps describe differently: the first one by (namespace, name) counts, here as for the operator."""
        return self._contested

    @property
    def sources(self) -> Iterable[str]:
        """ConfigMaps of descriptors, `namespace/name`."""
        return self._described.keys()

    def put(self, source: str, devices: Mapping[DeviceName, Device]) -> frozenset[DeviceName]:
        """A ConfigMap of descriptors appeared or changed; names of the devices that are not what they were."""
        self._described[source] = devices
        return self._merge()

    def drop(self, source: str) -> frozenset[DeviceName]:
        """A ConfigMap of descriptors is gone; names of the devices that are not what they were."""
        self._described.pop(source, None)
        return self._merge()

    def note(self, node: NodeName, before: NodeInventory | None, now: NodeInventory | None) -> None:
        """A node's labels changed; None: there was no such node, or there is none any more."""
        for gpu in before.gpus if before is not None else ():
            self._labelled[gpu.name].pop(node, None)
            self._gpus.pop(gpu.name, None)
        for gpu in now.gpus if now is not None else ():
            self._labelled.setdefault(gpu.name, {})[node] = gpu
            self._gpus.pop(gpu.name, None)

    def _merge(self) -> frozenset[DeviceName]:
        before, merged, contested = self._devices, dict[DeviceName, Device](), set[DeviceName]()
        for source in sorted(self._described, key=lambda name: name.split("/")):
            for name, device in self._described[source].items():
                if merged.setdefault(name, device) != device:
                    contested.add(name)
        self._devices, self._contested = merged, frozenset(contested)
        return frozenset(name for name in before.keys() | merged.keys() if before.get(name) != merged.get(name))

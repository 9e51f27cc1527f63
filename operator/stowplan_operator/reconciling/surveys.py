"""Surveys: what the nodes that may take a template's pods have to offer, read once for all services that select and tolerate alike.

A thousand services are looked at every half minute, and reading thousands of nodes for each of them would be all that the operator does.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stowplan_fleet.manifests import nodes
from stowplan_fleet.nodes import NodeInventory

from stowplan_operator.reconciling.eligibilities import eligible
from stowplan_operator.reconciling.views import Views
from stowplan_operator.sizing.prices import Prices, labelled

# Ways to select and tolerate that are remembered; clusters have a handful.
_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True)
class Survey:
    """The nodes that may take the pods."""

    inventories: tuple[NodeInventory, ...]
    prices: Prices
    """As their labels tell."""
    problems: tuple[str, ...]
    """What could not be read."""


class Surveys:
    """Surveys by what templates ask of nodes; made anew where a node changed in what matters."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._version: object = None
        self._known: OrderedDict[str, Survey] = OrderedDict()

    def of(self, template: Mapping[str, Any]) -> Survey:
        """The survey for a checked template (`workloads.checks`)."""
        version = self._views.nodes_version
        if version != self._version:
            self._version = version
            self._known.clear()
        spec = template.get("spec") or {}
        asked = json.dumps([spec.get("nodeSelector") or {}, spec.get("tolerations") or []], sort_keys=True)
        found = self._known.get(asked)
        if found is None:
            found = self._known[asked] = self._made(template)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found

    def _made(self, template: Mapping[str, Any]) -> Survey:
        open_nodes = eligible(self._views.nodes(), template)
        inventories = tuple(nodes.inventory_of(node) for node in open_nodes)
        prices, unpriced = labelled((item, node.metadata.labels) for item, node in zip(inventories, open_nodes, strict=True))
        return Survey(inventories, prices, (*(f"node {item.name}: {problem}" for item in inventories for problem in item.problems), *unpriced))

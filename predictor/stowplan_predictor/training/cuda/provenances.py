"""Fusion as the compiler tells it: inductor's provenance artifacts, read.

Source: torch._inductor.debug (`set_kernel_post_grad_provenance_tracing`, version 2 of the node mappings) and the structured trace that it writes when
`trace.provenance_tracking_level` is 1: `inductor_provenance_tracking_node_mappings` (kernels to nodes of the graph after the compiler's rewriting; a kernel's
key ends in a number that counts calls) and `inductor_post_grad_graph` (that graph as printed Python). Nothing is inferred from names of kernels.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stowplan_predictor.errors import DatasetRefused

GRAPH_ARTIFACT: Final = "inductor_post_grad_graph"
MAPPING_ARTIFACT: Final = "inductor_provenance_tracking_node_mappings"
_MAPPING_VERSION: Final = 2.0
# What inductor writes before the names of kernels that it calls instead of generating.
_LIBRARY_PREFIXES: Final = ("extern_kernels.", "torch.ops.", "aten.", "fallback")
# `name: "f32[2, 16][16, 1]cuda:0" = torch.ops.aten.add.Tensor(a, b)`, as fx prints it with strides and devices.
_NODE: Final = re.compile(r'^\s*(?P<name>\w+)\s*:\s*"(?P<type>[^"]*)"\s*=\s*(?P<target>[\w.]+)\((?P<arguments>.*?)\)\s*(?:;.*)?(?:#.*)?$')
_UNTYPED: Final = re.compile(r"^\s*(?P<name>\w+)\s*=\s*(?P<target>(?:torch|operator|operator\.)[\w.]*)\((?P<arguments>.*?)\)\s*(?:;.*)?(?:#.*)?$")
_PLACEHOLDER: Final = re.compile(r'(?P<name>\w+)\s*:\s*"(?P<type>[^"]*)"')
_GET_ITEM: Final = re.compile(r'^\s*(?P<name>\w+)(?:\s*:\s*"(?P<type>[^"]*)")?\s*=\s*(?P<source>\w+)\[(?P<index>\d+)\]')
_TENSOR: Final = re.compile(r"(?P<dtype>[a-z]\w*)\[(?P<shape>[^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Node:
    """An operator of the graph after the compiler's rewriting."""

    name: str
    target: str
    """ATen operator (`aten.add.Tensor`), `getitem` or `placeholder`."""
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    """Of its output; empty for scalars and for tuples, whose parts are nodes of their own."""
    dtype: str
    """As fx abbreviates it: `f32`, `i64`; empty for tuples."""
    arguments: str = ""
    """As they are printed: names of nodes, and what is no tensor (strides, padding, groups, scalars)."""


@dataclass(frozen=True, slots=True)
class KernelTruth:
    """One call of a kernel, and the nodes that it computes."""

    position: int
    name: str
    is_library: bool
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GraphTruth:
    """A compiled graph: its nodes, and the kernels that compute them in the order of their calls."""

    nodes: Mapping[str, Node]
    kernels: tuple[KernelTruth, ...]

    def operators_of(self, kernel: KernelTruth) -> tuple[str, ...]:
        """ATen operators of a kernel's nodes; a node that the printed graph does not show is left out."""
        return tuple(self.nodes[name].target for name in kernel.nodes if name in self.nodes)

    def edges(self) -> Iterator[tuple[str, str, bool]]:
        """Each edge between two operators, and whether some kernel computes both of its ends."""
        homes: dict[str, set[int]] = {}
        for kernel in self.kernels:
            for name in kernel.nodes:
                homes.setdefault(name, set()).add(kernel.position)
        for node in self.nodes.values():
            for source in node.inputs:
                if source in homes and node.name in homes:
                    yield source, node.name, bool(homes[source] & homes[node.name])


def graph_truth(graph_text: str, mapping: Mapping[str, Any]) -> GraphTruth:
    """What the compiler says of one graph.

    Raises:
        DatasetRefused: the artifacts are not of the version that this was written for, or contradict each other.
    """
    nodes = parse_graph(graph_text)
    kernels = parse_mapping(mapping)
    strange = sorted({name for kernel in kernels for name in kernel.nodes} - set(nodes))
    named = {name for kernel in kernels for name in kernel.nodes}
    if kernels and named and len(strange) > len(named) // 2:
        raise DatasetRefused(f"inductor's mapping names nodes that its graph does not have ({', '.join(strange[:4])}); this torch prints graphs differently")
    return GraphTruth(nodes, kernels)


def parse_mapping(mapping: Mapping[str, Any]) -> tuple[KernelTruth, ...]:
    """Kernels in the order of their calls.

    Raises:
        DatasetRefused: another version, or no such mapping.
    """
    if mapping.get("version") != _MAPPING_VERSION:
        raise DatasetRefused(f"inductor's node mappings are of version {mapping.get('version')!r}; wanted {_MAPPING_VERSION}: use a torch that writes those")
    found = []
    for key, nodes in mapping.get("cppCodeToPost", {}).items():
        name, _, handle = key.rpartition(":")
        if not name or not handle.isdecimal():
            raise DatasetRefused(f"inductor's node mappings: kernel {key!r} carries no number of its call")
        found.append(KernelTruth(int(handle), name, name.startswith(_LIBRARY_PREFIXES), tuple(nodes)))
    return tuple(sorted(found, key=lambda kernel: kernel.position))


def parse_graph(text: str) -> dict[str, Node]:
    """Nodes of a printed graph, by name, in its order."""
    nodes: dict[str, Node] = {}
    for line in text.splitlines():
        if line.lstrip().startswith("def forward("):
            for found in _PLACEHOLDER.finditer(line):
                nodes[found["name"]] = _node(found["name"], "placeholder", (), found["type"])
            continue
        item = _GET_ITEM.match(line)
        if item is not None:
            nodes[item["name"]] = _node(item["name"], "getitem", (item["source"],), item["type"] or "")
            continue
        found_node = _NODE.match(line) or _UNTYPED.match(line)
        if found_node is None:
            continue
        words = re.findall(r"[A-Za-z_]\w*", found_node["arguments"])
        inputs = tuple(dict.fromkeys(word for word in words if word in nodes))
        nodes[found_node["name"]] = _node(
            found_node["name"], found_node["target"].removeprefix("torch.ops."), inputs, found_node.groupdict().get("type") or "", found_node["arguments"]
        )
    return nodes


def _node(name: str, target: str, inputs: tuple[str, ...], described: str, arguments: str = "") -> Node:
    tensor = _TENSOR.match(described)
    if tensor is None:
        return Node(name, target, inputs, (), "", arguments)
    sizes = [size.strip() for size in tensor["shape"].split(",") if size.strip()]
    # Symbolic sizes (`s0`) do not occur: everything is compiled for one shape.
    return Node(name, target, inputs, tuple(int(size) for size in sizes if size.isdecimal()), tensor["dtype"], arguments)

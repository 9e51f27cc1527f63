"""SYNTHETIC tables of a GPU campaign, for tests of what is trained from them. Nobody measured any of this, and no accuracy may rest on it.

They follow a law that is written here and nowhere else: a kernel takes two microseconds and then as long as arithmetic at 60 % of the peak or memory at 75 %
of it; a network takes a sum of its kernels in which light ones count less than half (fused away), four microseconds of launching each, and 50 for the
call; a share of the multiprocessors has that share of the arithmetic; a neighbour that never rests costs 90 % when taking turns, 20 % under MPS.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import helper
from stowplan_fleet.gpus.catalogue import find
from stowplan_predictor.training.cuda.plans import EAGER
from stowplan_predictor.training.cuda.rows import KernelRow, NetworkRow, NodeRow, PairRow
from stowplan_predictor.training.cuda.tables import GpuDataset, Outcome
from support.onnx_models import model, zeros

PRODUCT = "NVIDIA-H200"
NOISE = 0.02
FUSED, LAUNCH_MS, ONCE_MS = 0.4, 0.004, 0.05
TURNS, MPS = 1.9, 1.2
_DATE = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Layer:
    """A product, or something light over its output."""

    kind: str
    """`linear`, `relu` or `softmax`."""
    rows: int
    inner: int
    columns: int

    @property
    def flops(self) -> float:
        """Operations."""
        return 2.0 * self.rows * self.inner * self.columns if self.kind == "linear" else float(self.rows * self.columns)

    @property
    def bytes(self) -> float:
        """Traffic."""
        out = self.rows * self.columns
        return 4.0 * (self.rows * self.inner + self.inner * self.columns + out) if self.kind == "linear" else 8.0 * out

    def busy_ms(self, share: float = 1.0) -> float:
        """By the law, less its two microseconds."""
        gpu = find(PRODUCT)
        assert gpu is not None
        return 1e3 * max(self.flops / (0.6 * share * gpu.fp32_flops_per_second), self.bytes / (0.75 * gpu.bandwidth_bytes_per_second))


@dataclass(frozen=True)
class SyntheticNetwork:
    """Layers one after the other."""

    name: str
    family: str
    layers: tuple[Layer, ...]

    def wall_ms(self, share: float = 1.0) -> float:
        """By the law."""
        kernels = sum((1.0 if layer.kind == "linear" else FUSED) * (0.002 + layer.busy_ms(share)) + LAUNCH_MS for layer in self.layers)
        return ONCE_MS + kernels

    def onnx(self) -> bytes:
        """The network as a file."""
        nodes, constants, last = [], {}, "x"
        for number, layer in enumerate(self.layers):
            made = f"y{number}"
            if layer.kind == "linear":
                constants[f"w{number}"] = zeros(layer.inner, layer.columns)
                nodes.append(helper.make_node("MatMul", [last, f"w{number}"], [made]))
            else:
                nodes.append(
                    helper.make_node({"relu": "Relu", "softmax": "Softmax"}[layer.kind], [last], [made], **({"axis": -1} if layer.kind == "softmax" else {}))
                )
            last = made
        nodes[-1].output[0] = "y"
        return bytes(model(nodes, {"x": (self.layers[0].rows, self.layers[0].inner)}, constants=constants).SerializeToString())


def networks(families: int = 13, each: int = 2) -> list[SyntheticNetwork]:
    """The same ones every time: families differ in depth, width and how much of them is light."""
    found = []
    for family in range(families):
        for number in range(each):
            chance = np.random.default_rng(100 * family + number)
            rows, width = int(2 ** chance.uniform(6, 12)), int(2 ** chance.uniform(7, 11)) // 8 * 8
            layers: list[Layer] = []
            for depth in range(3 + family % 5):
                wide = int(2 ** chance.uniform(7, 11)) // 8 * 8
                layers.append(Layer("linear", rows, width, wide))
                layers += [Layer("relu", rows, wide, wide)] * (1 + (family + depth) % 3)
                layers += [Layer("softmax", rows, wide, wide)] * (family % 2)
                width = wide
            found.append(SyntheticNetwork(f"net-{family}-{number}", f"family-{family}", tuple(layers)))
    return found


def spoilt(value: float, chance: np.random.Generator) -> float:
    """With noise."""
    return float(value * np.exp(NOISE * chance.standard_normal()))


def network_row(unit: str, network: SyntheticNetwork, runtime: str, partition: str, wall_ms: float) -> NetworkRow:
    """As the campaign keeps it."""
    return NetworkRow(
        unit=unit, network=network.name, family=network.family, runtime=runtime, partition=partition, multiprocessors=132, batch=1, wall_ms=wall_ms,
        wall_p5_ms=wall_ms * 0.98, wall_p95_ms=wall_ms * 1.02, device_ms=wall_ms, device_p5_ms=wall_ms, device_p95_ms=wall_ms, device_method="cuda-graph",
        runs=100, steady=True, clock_mhz=None, compile_s=None, kernels=len(network.layers), output_sum=1.0, output_abs_sum=1.0, note="", measured_at=_DATE,
    )  # fmt: skip


def kernel_rows(unit: str, network: SyntheticNetwork, runtime: str, chance: np.random.Generator) -> tuple[list[KernelRow], list[NodeRow]]:
    """Every layer as the profiler and the compiler would tell of it."""
    kernels, nodes = [], [NodeRow(unit, network.name, 0, "x", "placeholder", (), (network.layers[0].rows, network.layers[0].inner), "f32", "")]
    last = "x"
    for position, layer in enumerate(network.layers):
        made, given = f"node{position}", (layer.rows, layer.inner)
        if layer.kind == "linear":
            nodes.append(NodeRow(unit, network.name, 0, f"w{position}", "placeholder", (), (layer.inner, layer.columns), "f32", ""))
            arguments, eager, compiled = f"{last}, w{position}", "aten::matmul", "aten.mm.default"
            shapes = {"dims": [list(given), [layer.inner, layer.columns]], "values": ["", ""]}
        else:
            eager, compiled = f"aten::{layer.kind}", f"aten.{layer.kind}.default"
            arguments = last if layer.kind == "relu" else f"{last}, -1, False"
            shapes = {"dims": [list(given), [], []], "values": ["", "-1", ""] if layer.kind == "softmax" else [""]}
        nodes.append(NodeRow(unit, network.name, 0, made, compiled, (last,), (layer.rows, layer.columns), "f32", arguments))
        micros = 1e3 * spoilt(0.002 + layer.busy_ms(), chance)
        own = runtime == EAGER
        kernels.append(
            KernelRow(
                unit,
                network.name,
                runtime,
                0,
                position,
                f"kernel{position}",
                "library" if own or layer.kind == "linear" else "compiler",
                (eager if own else compiled,),
                () if own else (made,),
                json.dumps(shapes) if own else "",
                ("cuda",),
                micros,
                micros,
                micros,
                10,
            )
        )
        last = made
    return kernels, [] if runtime == EAGER else nodes


def pair_row(one: SyntheticNetwork, other: SyntheticNetwork, runtime: str, sharing: str, chance: np.random.Generator) -> PairRow:
    """One beside another that never rests."""
    alone = one.wall_ms(0.5 if sharing == "mps-50" else 1.0)
    slower = TURNS if sharing == "time-2" else MPS
    return PairRow(
        unit=f"{runtime}/pair/{one.name}+{other.name}/{sharing}", subject=one.name, neighbour=other.name, neighbours=1, runtime=runtime, sharing=sharing,
        multiprocessors=132, alone_ms=spoilt(alone, chance), beside_ms=spoilt(alone * slower, chance), beside_p95_ms=alone * slower * 1.1,
        alone_again_ms=spoilt(alone, chance), runs=100, neighbour_requests_per_second=100.0, measured_at=_DATE,
    )  # fmt: skip


def units(runtime: str, all_networks: Sequence[SyntheticNetwork], seed: int = 0) -> Iterator[tuple[str, dict[str, list[object]]]]:
    """Units of work with their rows."""
    chance = np.random.default_rng(seed)
    for network in all_networks:
        key = f"{runtime}/network/{network.name}/full"
        kernels, nodes = kernel_rows(key, network, runtime, chance)
        yield key, {"networks": [network_row(key, network, runtime, "full", spoilt(network.wall_ms(), chance))], "kernels": list(kernels), "nodes": list(nodes)}
    chosen = all_networks[::4][:6]
    for percent in (50, 33, 25, 14):
        key, share = f"{runtime}/partition/networks/mps-{percent}", math.floor(132 * percent / 100) / 132
        yield key, {"networks": [network_row(key, network, runtime, f"mps-{percent}", spoilt(network.wall_ms(share), chance)) for network in chosen]}
    pairs = [(one, other, "time-2") for one in chosen for other in chosen if one is not other][:26]
    pairs += [(one, other, "mps-50") for one, other in zip(chosen, [*chosen[2:], *chosen[:2]], strict=True)]
    for one, other, sharing in pairs:
        row = pair_row(one, other, runtime, sharing, chance)
        yield row.unit, {"pairs": [row]}


def write_synthetic_campaign(folder: Path, runtime: str, all_networks: Sequence[SyntheticNetwork] | None = None) -> GpuDataset:
    """Writes the tables by the code that stores real ones, marked as what they are."""
    machine = {"gpu": {"name": "NVIDIA H200"}, "synthetic": "made up for tests by tests/support/synthetic_campaigns.py; nobody measured this"}
    dataset = GpuDataset(folder, PRODUCT, [machine])
    for key, rows in units(runtime, all_networks or networks()):
        for name, given in rows.items():
            dataset.rows[name].extend(given)  # type: ignore[arg-type] # rows of that table
        dataset.units[key] = Outcome("done", 1.0, 0)
    dataset.write(list(dataset.rows))
    return dataset

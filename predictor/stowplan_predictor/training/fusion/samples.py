"""Fusion samples: graphs with what the runtime fused in them, for training and judging classifiers of edges."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.errors import GraphRefused

from stowplan_predictor.fusion import layouts, rules
from stowplan_predictor.fusion.classifier_inputs import ClassifierInputs, classifier_inputs
from stowplan_predictor.fusion.truths import FusionTruth, read_truth
from stowplan_predictor.graphs import loading
from stowplan_predictor.graphs.opgraphs import OpGraph
from stowplan_predictor.measuring import devices, structures
from stowplan_predictor.training.data.generated_rows import RandomRow
from stowplan_predictor.training.data.rows import StructureRow
from stowplan_predictor.training.fusion import blocks as fusion_blocks
from stowplan_predictor.training.generated import kinds as random_kinds

_CPUINFO: Final = Path("/proc/cpuinfo")
# As many as the zoo has, about: an epoch takes as much from each family.
_BLOCK_FAMILIES: Final = 64


@dataclass(frozen=True, slots=True)
class FusionSample:
    """One network and its fusion truth."""

    network: str
    family: str
    split: str
    graph: OpGraph
    truth: FusionTruth
    channel_block: int

    @property
    def form(self) -> str:
        """Same for networks that the runtime fuses alike for all one can see: operators, edges and truth, sizes aside."""
        parts = ([op.op_type for op in self.graph.operators], self.graph.edges, sorted(self.truth.edges.items()))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def inputs(self, types: Sequence[str]) -> ClassifierInputs:
        """What a classifier reads."""
        return classifier_inputs(rules.grouped(self.graph, self.channel_block), types, self.channel_block)

    def labels(self, inputs: ClassifierInputs) -> NDArray[np.float32]:
        """1 for fused, 0 for apart, NaN where the truth judges nothing, one an edge."""
        edges = ((inputs.operators[writer], inputs.operators[reader]) for writer, reader in inputs.edges.T)
        judged = self.truth.judged
        return np.array([float(judged[edge]) if edge in judged else np.nan for edge in edges], dtype=np.float32)


def fusion_samples(rows: Iterable[StructureRow], device: CpuDevice) -> Iterator[FusionSample]:
    """Every network whose optimised graph was saved and that our reader takes."""
    block = layouts.channel_block(device.isa)
    for row in rows:
        if not row.optimized:
            continue
        try:
            graph = loading.load_graph(structures.unpack(row.structure), dict(zip(row.input_names, row.input_shapes, strict=True)))
        except GraphRefused:
            continue
        yield FusionSample(row.network, row.family, row.split, graph, read_truth(graph, structures.unpack(row.optimized)), block)


def generated_sample(row: RandomRow, optimized: bytes, device: CpuDevice) -> FusionSample:
    """A network that was drawn from a seed, and what the runtime made of it.

    Raises:
        GraphRefused: our reader does not take it.
    """
    graph = loading.load_graph(random_kinds.structure(row.kind, row.seed))
    return FusionSample(row.network, row.family, row.kind, graph, read_truth(graph, optimized), layouts.channel_block(device.isa))


def block_samples(seeds: Iterable[int]) -> Iterator[FusionSample]:
    """Random networks of `fusion_blocks`, as the runtime of this machine fuses them; dealt into families of no meaning.

    They teach and never judge: what decides about a fusion is all there, in any order, and belongs to no family.
    """
    block = layouts.channel_block(devices.parse_cpuinfo(_CPUINFO.read_text(encoding="utf-8"))[1])
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # The runtime warns that a saved model fits machines like this one: that is what it is saved for.
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(saved)
        for seed in seeds:
            model = fusion_blocks.network(seed)
            ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            graph = loading.load_graph(model)
            yield FusionSample(f"blocks-{seed}", f"blocks-{seed % _BLOCK_FAMILIES}", "blocks", graph, read_truth(graph, saved.read_bytes()), block)


def distinct(samples: Iterable[FusionSample]) -> list[FusionSample]:
    """One network of each form, the first by name: more sizes of the same teach nothing about fusion, and cost time."""
    found: dict[str, FusionSample] = {}
    for sample in sorted(samples, key=lambda sample: sample.network):
        found.setdefault(sample.form, sample)
    return list(found.values())

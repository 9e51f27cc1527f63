"""Fusion fits: trains classifiers of edges, early stopping on families that they do not learn from.

Networks repeat their blocks, and families differ in how many networks they have. So an epoch takes as many windows of consecutive operators from each family;
edges at a window's rim teach nothing, since their surroundings are cut off.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from stowplan_predictor.fusion import tables
from stowplan_predictor.fusion.classifier_inputs import EDGE_FEATURES, OPERATOR_FEATURES
from stowplan_predictor.fusion.classifiers import LearnedFusion
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.training.fusion.models import EdgeClassifier, to_onnx
from stowplan_predictor.training.fusion.samples import FusionSample, distinct

FILE: Final = "fusion.onnx"
# Types seen in fewer families than this share the column of unknown types: a column that one family has would tell families apart.
_FAMILIES_A_TYPE: Final = 2
# Share of the families that stop the training and choose the epoch.
_VALIDATION: Final = 0.2
_EPOCHS: Final = 20
# Windows: operators in one, operators at a rim that is not the graph's own, from one family an epoch, and in a step.
_WINDOW: Final = 96
_RIM: Final = 8
_WINDOWS_A_FAMILY: Final = 2
_BATCH: Final = 8
_RATE: Final = 5e-3
# Epochs without a better validation loss after which training ends. Epochs are counted and never timed: the same seed gives the same weights.
_PATIENCE: Final = 6


@dataclass(frozen=True, slots=True)
class FittedFusion:
    """A trained fusion, as a bundle takes it."""

    table: FusionTable
    files: Mapping[str, bytes]
    curves: Mapping[str, Sequence[float]]
    """By name, one value an epoch."""

    def fusion(self) -> LearnedFusion:
        """Ready to serve."""
        return LearnedFusion(self.table, self.files[self.table.file])


@dataclass(frozen=True, slots=True)
class _Case:
    family: str
    nodes: NDArray[np.float32]
    edges: NDArray[np.int64]
    links: NDArray[np.float32]
    labels: NDArray[np.float32]

    def window(self, start: int) -> "_Case":
        """The operators from `start` on."""
        stop = min(start + _WINDOW, len(self.nodes))
        inside = ((self.edges >= start) & (self.edges < stop)).all(axis=0)
        edges, labels = self.edges[:, inside], self.labels[inside].copy()
        rim = (edges < start + _RIM if start else np.zeros_like(edges, dtype=bool)) | (edges >= stop - _RIM if stop < len(self.nodes) else False)
        labels[rim.any(axis=0)] = np.nan
        return _Case(self.family, self.nodes[start:stop], edges - start, self.links[inside], labels)


@dataclass(frozen=True, slots=True)
class _Batch:
    nodes: Tensor
    edges: Tensor
    links: Tensor
    graphs: Tensor
    labels: Tensor


def _types(samples: Sequence[FusionSample]) -> tuple[str, ...]:
    families: Counter[str] = Counter()
    for _, op_type in {(sample.family, op.op_type) for sample in samples for op in sample.graph.operators}:
        families[op_type] += 1
    return tuple(sorted(op_type for op_type, count in families.items() if count >= _FAMILIES_A_TYPE))


def _parted(samples: Sequence[FusionSample], seed: int) -> tuple[list[FusionSample], list[FusionSample]]:
    """(to learn from, to stop by), families whole; another seed, another dealing."""
    families = sorted({sample.family for sample in samples}, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    held = set(families[: round(_VALIDATION * len(families))])
    return [sample for sample in samples if sample.family not in held], [sample for sample in samples if sample.family in held]


def _batch(cases: Sequence[_Case]) -> _Batch:
    counts = [len(case.nodes) for case in cases]
    offsets = np.cumsum([0, *counts[:-1]])
    return _Batch(
        nodes=torch.from_numpy(np.concatenate([case.nodes for case in cases])),
        edges=torch.from_numpy(np.concatenate([case.edges + offset for case, offset in zip(cases, offsets, strict=True)], axis=1)),
        links=torch.from_numpy(np.concatenate([case.links for case in cases])),
        graphs=torch.from_numpy(np.repeat(np.arange(len(cases)), counts)),
        labels=torch.from_numpy(np.concatenate([case.labels for case in cases])),
    )


def _loss(model: EdgeClassifier, batch: _Batch, weight: Tensor) -> tuple[Tensor, int, int]:
    """Mean loss, and how many of how many edges are right."""
    known = ~torch.isnan(batch.labels)
    logits = model(batch.nodes, batch.edges, batch.links, batch.graphs)[known]
    labels = batch.labels[known]
    loss = binary_cross_entropy_with_logits(logits, labels, pos_weight=weight)
    return loss, int(((logits > 0) == (labels > 0.5)).sum()), len(labels)


def _windows(cases: Sequence[_Case], random: np.random.Generator) -> list[_Case]:
    """An epoch: as many windows of each family, in any order."""
    families: dict[str, list[_Case]] = {}
    for case in cases:
        families.setdefault(case.family, []).append(case)
    found = []
    for own in families.values():
        for place in random.integers(0, len(own), _WINDOWS_A_FAMILY):
            case = own[place]
            found.append(case.window(int(random.integers(0, max(len(case.nodes) - _WINDOW, 0) + 1))))
    return [found[place] for place in random.permutation(len(found))]


def _train(model: EdgeClassifier, train: Sequence[_Case], validation: Sequence[_Case], seed: int) -> dict[str, list[float]]:
    """Trains in place, ends with the weights of the best epoch; returns the curves."""
    labels = np.concatenate([case.labels for case in train])
    fused = float(np.nansum(labels))
    # Fused edges are the rarer ones; the root, because accuracy counts both alike.
    weight = torch.tensor(((np.count_nonzero(~np.isnan(labels)) - fused) / max(fused, 1.0)) ** 0.5)
    held, random = _batch(validation), np.random.default_rng(seed)
    steps = -(-len({case.family for case in train}) * _WINDOWS_A_FAMILY // _BATCH)
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=_RATE, total_steps=steps * _EPOCHS)
    curves: dict[str, list[float]] = {"fusion training loss": [], "fusion validation loss": [], "fusion validation accuracy": []}
    best, state, stale = float("inf"), model.state_dict(), 0
    for _ in range(_EPOCHS):
        losses = []
        windows = _windows(train, random)
        for start in range(0, len(windows), _BATCH):
            optimizer.zero_grad()
            loss, _, _ = _loss(model, _batch(windows[start : start + _BATCH]), weight)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        with torch.no_grad():
            loss, right, count = _loss(model, held, weight)
        curves["fusion training loss"].append(float(np.mean(losses)))
        curves["fusion validation loss"].append(float(loss))
        curves["fusion validation accuracy"].append(right / max(count, 1))
        stale += 1
        if float(loss) < best:
            best, stale = float(loss), 0
            state = {name: value.clone() for name, value in model.state_dict().items()}
        if stale >= _PATIENCE:
            break
    model.load_state_dict(state)
    return curves


def fit(samples: Sequence[FusionSample], system: str, seed: int, blocks: Sequence[FusionSample] = ()) -> FittedFusion:
    """Trains one of the learned systems of `fusion.tables`.

    Args:
        samples: networks to learn from; of equal forms only one is used.
        system: which.
        seed: of the weights, the order and the families that stop the training.
        blocks: random networks that teach besides, and never stop the training.
    """
    torch.manual_seed(seed)
    different = distinct(samples)
    types = _types(different)
    columns = [place for place, name in enumerate(EDGE_FEATURES) if name != "rules_fuse" or system in tables.TOLD]
    teaching, stopping = _parted(different, seed)
    cases = [[_case(sample, types, columns) for sample in part] for part in ([*teaching, *blocks], stopping)]
    nodes = np.concatenate([case.nodes for case in cases[0]])
    mean, scale = nodes.mean(axis=0), nodes.std(axis=0)
    # Types are columns of zeros and ones, which need no scaling; a column that never changes keeps its scale.
    mean[len(OPERATOR_FEATURES) :] = 0.0
    scale[len(OPERATOR_FEATURES) :] = 1.0
    scale[scale < 1e-6] = 1.0
    model = EdgeClassifier(torch.from_numpy(mean), torch.from_numpy(scale), len(columns), recurrent=system != tables.GAT_MLP)
    curves = _train(model, cases[0], cases[1], seed)
    example = _batch(cases[0][:1])
    table = FusionTable(system, FILE, types, OPERATOR_FEATURES, tuple(EDGE_FEATURES[place] for place in columns))
    return FittedFusion(table, {FILE: to_onnx(model, example.nodes, example.edges, example.links)}, curves)


def _case(sample: FusionSample, types: Sequence[str], columns: Sequence[int]) -> _Case:
    inputs = sample.inputs(types)
    return _Case(sample.family, inputs.nodes, inputs.edges, inputs.links[:, columns], sample.labels(inputs))

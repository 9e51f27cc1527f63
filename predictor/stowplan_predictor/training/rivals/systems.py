"""Every system that `make rivals` knows: which units it needs, and how they become predictions."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Final

from stowplan_predictor.training.harness.cases import FitPredict, cases
from stowplan_predictor.training.harness.systems import Content, System
from stowplan_predictor.training.harness.units import UnitKind
from stowplan_predictor.training.harness.worlds import World
from stowplan_predictor.training.judgements.predictions import PredictionRow
from stowplan_predictor.training.rivals import flattened_networks, graph_convolutions, graph_transformers, linears, means
from stowplan_predictor.training.rivals.graph_tensors import graph_tensors

# What every whole-network rival runs through, beside its own module.
_SHARED: Final = ("training/rivals/graph_tensors.py", "training/data/folds.py", "training/kernels/regressions.py", "training/harness/cases.py")
_LEARNING: Final = (*_SHARED, "training/rivals/batches.py", "training/rivals/learners.py")


def whole_network_inputs(world: World) -> str:
    """Digest of what whole-network rivals see: graphs, slices, latencies, folds. No kernel time and no table they do not look at."""
    found = hashlib.sha256()
    for number, fold in world.folds.items():
        found.update(f"fold {number}\0".encode())
        for case in cases(fold.test):
            found.update(f"{case.sample.name}\0{case.sample.family}\0{case.slice}\0{case.measured.slice_}\0{case.truth_ms!r}\0".encode())
    for sample, graph in zip(world.samples.networks.values(), graph_tensors(world.samples.networks.values()), strict=True):
        found.update(sample.name.encode() + graph.nodes.tobytes() + graph.types.tobytes() + graph.edges.tobytes())
    return found.hexdigest()


def _whole_network(name: str, fit_predict: FitPredict, module: str, shared: Sequence[str]) -> UnitKind:
    def make(world: World, number: int) -> bytes:
        fold = world.folds[number]
        asked = cases(fold.test)
        found = fit_predict(cases(fold.train), asked, world.seed)
        return json.dumps([[case.sample.name, case.slice, float(value)] for case, value in zip(asked, found, strict=True)]).encode()

    return UnitKind(name, make, whole_network_inputs, (*shared, f"training/rivals/{module}.py"))


def _row(system: str, number: int, case: tuple[str, str, str, str], value: float) -> PredictionRow:
    split, network, family, slice_ = case
    if math.isfinite(value) and value > 0:
        return PredictionRow(system, split, network, family, slice_, number, value)
    return PredictionRow(system, split, network, family, slice_, number, None, reason=f"the model says {value} ms, which is no latency")


def _whole_network_rows(world: World, system: str, content: Content) -> list[PredictionRow]:
    found = []
    for number, raw in content[system].items():
        said = {(network, slice_): value for network, slice_, value in json.loads(raw)}
        for _, case in world.judged([number]):
            sample = case.sample
            found.append(_row(system, number, (sample.split, sample.name, sample.family, case.slice), said[sample.name, case.slice]))
    return found


UNITS: Final[Mapping[str, UnitKind]] = {
    kind.name: kind
    for kind in (
        _whole_network("mean", means.fit_predict, "means", _SHARED),
        _whole_network("linear", linears.fit_predict, "linears", _SHARED),
        _whole_network("gcn", graph_convolutions.fit_predict, "graph_convolutions", _LEARNING),
        _whole_network("dnn", flattened_networks.fit_predict, "flattened_networks", _LEARNING),
        _whole_network("transformer", graph_transformers.fit_predict, "graph_transformers", _LEARNING),
    )
}
SYSTEMS: Final[Mapping[str, System]] = {name: System(name, (name,), _whole_network_rows) for name in UNITS}

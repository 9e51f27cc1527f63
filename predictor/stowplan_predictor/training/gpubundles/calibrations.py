"""Calibrations: the public bundle of GPUs, corrected by kernels that were measured on one GPU.

What that GPU reaches of its peaks is read off its own kernels where there are enough of a kind, and follows the rule for unknown GPUs (`gpus.figures`) where
there are not. What the public models then leave over is learned by small boosted trees, family by family, and added to them in the same ONNX file; families
with few rows get one number, drawn towards none. Durations are those of the device: launching is left to the law of networks (`laws`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import helper
from stowplan_fleet.gpus.catalogue import find

from stowplan_predictor.bundles.gpu_bundles import GpuBundle
from stowplan_predictor.bundles.loading import open_bundle
from stowplan_predictor.errors import BundleRefused, DatasetRefused
from stowplan_predictor.gpus.estimators import FamilyTable, GpuEstimator, GpuTable
from stowplan_predictor.gpus.features import FEATURES, PLAIN, codes, feature_matrix
from stowplan_predictor.gpus.figures import Figures, MeasuredGpu, figures_of
from stowplan_predictor.gpus.machines import Machine, machine_of
from stowplan_predictor.gpus.rooflines import bounds
from stowplan_predictor.gpus.tasks import FAMILIES, KINDS, POINTWISE, PRODUCTS, Matrix, Tasks
from stowplan_predictor.kernels.regressors import FeatureRegressor
from stowplan_predictor.training.gpubundles.kernels import Kernels
from stowplan_predictor.training.kernels import boosted_trees
from stowplan_predictor.training.kernels.boosted_trees import Boosting
from stowplan_predictor.training.kernels.tree_files import constant, regressor_file, trees_node

# Rows of which a figure of a kind or a family is believed, and rows from which trees are grown; below, one number drawn towards none as if so many said none.
_BELIEVED: Final = 10
_TREES: Final = 60
_DRAWN: Final = 10.0
_BOOSTING: Final = Boosting(rounds=60, rate=0.1, leaves=6, least_rows=12, ridge=1.0, share=0.5)
# As `training.gpus.measured_figures`: the least kernels tell launching, long ones what is sustained.
_FLOOR: Final = 0.02
_SUSTAINED: Final = 0.10
_LONG_MS: Final = 0.3


@dataclass(frozen=True)
class Calibrated:
    """A bundle's kernel models for one GPU."""

    table: GpuTable
    files: Mapping[str, bytes]
    """By the path that the table names."""

    def estimator(self) -> GpuEstimator:
        """As it is served."""
        return GpuEstimator(self.table, self.files)


def public(folder: Path) -> Calibrated:
    """The bundle that is calibrated.

    Raises:
        BundleNotFound: there is none.
        BundleRefused: altered, not usable, or a bundle of CPUs.
    """
    bundle = open_bundle(folder)
    if not isinstance(bundle, GpuBundle):
        raise BundleRefused(f"{folder}: a bundle of CPUs; name one of GPUs, such as the shipped torch-eager")
    table = bundle.judge.estimator.table
    return Calibrated(table, {one.file: (folder / one.file).read_bytes() for one in table.families.values()})


def label(folder: Path) -> str:
    """`<name>@<version>` of a bundle."""
    return open_bundle(folder).label


def machine(product: str) -> Machine:
    """A GPU of the catalogue.

    Raises:
        DatasetRefused: it is not there.
    """
    gpu = find(product)
    if gpu is None:
        raise DatasetRefused(f"GPU {product} is not in the catalogue (`stowplan slices` lists what is): add it there, with its sources, before training on it")
    return machine_of(gpu)


def calibrated(base: Calibrated, product: str, kernels: Kernels) -> Calibrated:
    """The bundle for that GPU, corrected by these kernels; without any it is the base under the rule for unknown GPUs."""
    gpu = machine(product)
    figures = _figures(base, gpu, kernels)
    found = {family: _family(base, family, gpu, figures, kernels.part(kernels.families == family)) for family in FAMILIES}
    table = replace(base.table, gpus=(MeasuredGpu(product, figures),), families={family: one for family, (one, _) in found.items()})
    return Calibrated(table, {one.file: content for one, content in found.values()})


def log_ms(model: Calibrated, product: str, tasks: Tasks) -> Matrix:
    """Predicted log milliseconds of kernels on the whole GPU, as served."""
    gpu = machine(product)
    figures = model.table.gpus[0].figures
    said = np.zeros(len(tasks.kinds))
    families = np.array([KINDS[kind] for kind in tasks.kinds], dtype=np.str_)
    for family, one in model.table.families.items():
        rows = np.flatnonzero(families == family)
        if len(rows):
            values = FeatureRegressor(model.files[one.file]).values(_matrix(tasks.part(rows), gpu, figures))
            said[rows] = np.clip(values, one.lower, one.upper)
    return np.asarray(said + np.log(bounds(tasks, gpu, figures).smooth_ms))


def _matrix(tasks: Tasks, gpu: Machine, figures: Figures) -> np.ndarray:
    return np.column_stack([feature_matrix(tasks, gpu, figures), codes(tasks)]).astype(np.float32)


def _figures(base: Calibrated, gpu: Machine, kernels: Kernels) -> Figures:
    rule = figures_of(gpu, [(machine(one.product), one.figures) for one in base.table.gpus])
    kinds = np.array(kernels.tasks.kinds, dtype=np.str_)
    told = {kind: float(np.quantile(kernels.latency_ms[kinds == kind], _FLOOR)) for kind in KINDS if (kinds == kind).sum() >= _BELIEVED}
    # Kinds with too few rows: as the rule has them relative to those that have enough.
    less = float(np.median([told[kind] / rule.launch_ms[kind] for kind in told])) if told else 1.0
    launches = {kind: told.get(kind, rule.launch_ms[kind] * less) for kind in KINDS}
    arithmetic = 1e3 * kernels.tasks.column("flops") / gpu.flops_per_second
    memory = 1e3 * kernels.tasks.column("bytes") / gpu.bandwidth_bytes_per_second
    long = np.maximum(arithmetic, memory) > _LONG_MS
    light = long & (kernels.families == POINTWISE)
    stream = 1.0 / float(np.median(kernels.latency_ms[light] / memory[light])) if light.sum() >= _BELIEVED else rule.stream
    compute = dict(rule.compute)
    for family in PRODUCTS:
        heavy = long & (kernels.families == family) & (arithmetic > memory)
        if heavy.sum() >= _BELIEVED:
            compute[family] = 1.0 / float(np.quantile(kernels.latency_ms[heavy] / arithmetic[heavy], _SUSTAINED))
    return Figures(launches, stream, compute, rule.tile)


def _family(base: Calibrated, family: str, gpu: Machine, figures: Figures, rows: Kernels) -> tuple[FamilyTable, bytes]:
    table, content = base.table.families[family], base.files[base.table.families[family].file]
    if not len(rows):
        return table, content
    matrix = _matrix(rows.tasks, gpu, figures)
    said = np.clip(FeatureRegressor(content).values(matrix), table.lower, table.upper)
    measured = np.log(rows.latency_ms) - np.log(bounds(rows.tasks, gpu, figures).smooth_ms)
    residual = measured - said
    nodes = [helper.make_node("Add", ["public_log_ratio", "offset"], ["log_ratio"])]
    constants = [constant("offset", [float(residual.sum() / (len(rows) + _DRAWN))])]
    if len(rows) >= _TREES:
        model = boosted_trees.fit(matrix[:, :PLAIN], residual, np.ones(len(rows)), _BOOSTING)
        nodes = [
            trees_node(list(boosted_trees.trees_of(model)), "features", "grown"),
            helper.make_node("Add", ["grown", "offset"], ["correction"]),
            helper.make_node("Add", ["public_log_ratio", "correction"], ["log_ratio"]),
        ]
        constants = [constant("offset", [boosted_trees.baseline_of(model)])]
    lower, upper = min(table.lower, float(measured.min())), max(table.upper, float(measured.max()))
    return replace(table, lower=lower, upper=upper), _added(content, nodes, constants)


def _added(content: bytes, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> bytes:
    """The public file with further nodes, its own names marked so that none meets another."""
    graph = onnx.load_model_from_string(content).graph
    kept = {graph.input[0].name: "features"}

    def named(name: str) -> str:
        return kept.get(name, f"public_{name}") if name else name

    for node in graph.node:
        node.input[:] = [named(name) for name in node.input]
        node.output[:] = [named(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = named(tensor.name)
    if named(graph.output[0].name) != "public_log_ratio":
        raise BundleRefused(f"a kernel model ends in {graph.output[0].name!r}, and not in log_ratio: train the bundle again")
    return regressor_file([*graph.node, *nodes], [*graph.initializer, *constants], len(FEATURES) + 1)

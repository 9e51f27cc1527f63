"""Bundles as they are served: one answering pipeline for each runtime, loaded, warmed and described."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import onnx
from onnx import TensorProto, helper
from stowplan_fleet.answers import Answer
from stowplan_fleet.clients import BundleDescription
from stowplan_fleet.devices import Device
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.slices import DeviceName, SliceClass

from stowplan_predictor.bundles import loading
from stowplan_predictor.bundles.gpu_bundles import GpuBundle
from stowplan_predictor.errors import BundleNotFound
from stowplan_predictor.fusion.serving import FusionSource
from stowplan_predictor.pipelines import Pipeline
from stowplan_predictor.pipelines.analyses import Analyses, Analyst, reading_here
from stowplan_predictor.pipelines.caches import CacheLimits
from stowplan_predictor.pipelines.judges import AnyBundle
from stowplan_predictor.serving.settings import Bundles

logger = logging.getLogger(__name__)


class Answering(Protocol):
    """What a pipeline does, as far as it is served. Thread-safe."""

    def analyze(self, onnx_model: bytes | memoryview, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """Reads a model and remembers it; raises GraphRefused."""

    def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> list[Answer]:
        """One answer a question, in order."""

    def recall(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> list[Answer] | None:
        """The same answers where all of them are remembered, else None; never computes."""

    @property
    def cache_entries(self) -> Mapping[str, int]:
        """How much it remembers, by kind."""

    @property
    def cache_bytes(self) -> Mapping[str, int]:
        """About how much memory that takes, by kind."""


@dataclass(frozen=True, slots=True)
class Served:
    """A pipeline, and which bundle it answers from."""

    pipeline: Answering
    description: BundleDescription

    @property
    def label(self) -> str:
        """`<name>@<version>`, as answers carry it."""
        return f"{self.description.name}@{self.description.version}"


def load(settings: Bundles, analyst_of: Callable[[Sequence[FusionSource]], Analyst] = reading_here, caches: CacheLimits | None = None) -> dict[str, Served]:
    """Loads and warms every bundle, by runtime. A graph is read once for all of them.

    Args:
        settings: which bundles.
        analyst_of: who reads model files, and cuts graphs by these fusions.
        caches: memory that may be filled.

    Raises:
        BundleError: one is missing or was altered.
        BundleNotFound: there is none at all.
    """
    folders = [*map(loading.shipped_folder, settings.runtimes), *map(Path, settings.directories)]
    bundles = {bundle.manifest.runtime: bundle for bundle in map(loading.open_bundle, folders)}
    if not bundles:
        raise BundleNotFound("the settings name no bundle: set bundles.runtimes or bundles.directories")
    limits = caches or CacheLimits()
    analyses = Analyses(analyst_of([bundle.fusion for bundle in bundles.values()]), limits.graphs_bytes)
    return {runtime: serve(bundle, analyses, limits) for runtime, bundle in bundles.items()}


def serve(bundle: AnyBundle, analyses: Analyses, caches: CacheLimits) -> Served:
    """Makes a pipeline of a bundle and warms it: the first call of a session costs many times the second. That of GPUs waits for who asks first."""
    manifest = bundle.manifest
    pipeline = Pipeline(bundle, analyses, caches)
    served = Served(pipeline, BundleDescription(manifest.name, manifest.version, manifest.runtime, bundle.manifest_json))
    if isinstance(bundle, GpuBundle):
        logger.info("bundle waits for its first question", extra={"bundle": served.label, "runtime": manifest.runtime})
        return served
    answer = warm(served, *pipeline.judge.first_place())
    logger.info("bundle warmed", extra={"bundle": served.label, "runtime": manifest.runtime, "basis": answer.basis.value})
    return served


# Only names what is multiplied: a convolution and an activation reach the fusion rules and two regressors.
_WARM_SHAPE: Final = (1, 3, 32, 32)


def warm(served: Served, slice_class: SliceClass, device: Device) -> Answer:
    """Asks for the latency of a small network on a slice of a device."""
    summary = served.pipeline.analyze(_small_model(), {})
    subject = Occupant(summary.graph_digest, slice_class, 1.0)
    return served.pipeline.predict([Question(subject)], {device.name: device}, served.description.runtime)[0]


def _small_model() -> bytes:
    weights = helper.make_tensor("w", TensorProto.FLOAT, (8, 3, 3, 3), [0.0] * 216)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3]), helper.make_node("Relu", ["c"], ["y"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, _WARM_SHAPE)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 8, 30, 30))]
    graph = helper.make_graph(nodes, "warm", inputs, outputs, [weights])
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    data: bytes = model.SerializeToString()
    return data

"""InferenceServices: the custom resource as written. What it means is told by `manifests.services`.

Field names and defaults are those of the custom resource definition; a test holds the two against each other. The structs accept what its bounds
forbid, so that one bad object can be named instead of failing a whole list.
"""

from typing import Any

import msgspec

from stowplan_fleet.manifests.decoding import Manifest
from stowplan_fleet.manifests.objects import Condition, Metadata


class ModelSpec(Manifest, frozen=True):
    """Which network, and which runtime runs it."""

    uri: str
    runtime: str = "onnxruntime-cpu"
    input_shapes: dict[str, list[int]] = msgspec.field(default_factory=dict)
    precision: str = "float32"
    digest: str = ""
    """`sha256:<hex>` of the file, where the author pins it."""


class SloSpec(Manifest, frozen=True):
    """The objective."""

    latency_milliseconds: int
    percentile: int = 95


class LoadSpec(Manifest, frozen=True):
    """What arrives at the whole service."""

    requests_per_second: int
    payload_instances: int = 1


class ServerSpec(Manifest, frozen=True):
    """How requests meet the model."""

    type: str = "onnxruntime"
    concurrency: int = 1
    max_batch: int = 1


class ReplicasSpec(Manifest, frozen=True):
    """How many servers."""

    min: int = 1
    max: int | None = None
    """None means the minimum: a fixed count."""


class PlacementSpec(Manifest, frozen=True):
    """What the service wants of its place."""

    on_unknown: str = "Reject"
    minimum_basis: str = "unvalidated"
    sharing: str = "Allow"
    slice_classes: list[str] = msgspec.field(default_factory=list)


class ServiceSpec(Manifest, frozen=True):
    """The spec."""

    model: ModelSpec
    slo: SloSpec
    load: LoadSpec
    server: ServerSpec = ServerSpec()
    replicas: ReplicasSpec = ReplicasSpec()
    placement: PlacementSpec = PlacementSpec()
    observe: dict[str, Any] = msgspec.field(default_factory=dict)
    template: dict[str, Any] = msgspec.field(default_factory=dict)
    """The user's pod template, passed on as it is."""


class ModelStatus(Manifest, frozen=True):
    """What the analysis of the model found."""

    digest: str = ""
    """`sha256:<hex>` of the file."""
    graph_digest: str = ""
    """`sha256:<hex>` of the bound graph; empty until analysed."""


class RungStatus(Manifest, frozen=True):
    """One rung of the ladder with its prediction."""

    slice_class: str
    replicas: int = 1
    predicted_milliseconds: float | None = None
    basis: str = ""
    meets_slo: bool = msgspec.field(name="meetsSLO", default=False)
    reason: str = ""
    skipped: str = ""
    """Why the service does not stand on it; empty for the one that it stands on."""


class ServiceStatus(Manifest, frozen=True):
    """The status, as far as others than its writer read it."""

    observed_generation: int = 0
    conditions: list[Condition] = msgspec.field(default_factory=list)
    model: ModelStatus = ModelStatus()
    ladder: list[RungStatus] = msgspec.field(default_factory=list)
    slice_class: str = ""
    predicted_milliseconds: float | None = None
    replicas: int = 0
    """The count the operator aims at; 0 until it decided."""
    selector: str = ""


class InferenceServiceManifest(Manifest, frozen=True):
    """An InferenceService."""

    spec: ServiceSpec
    api_version: str = ""
    kind: str = ""
    metadata: Metadata = Metadata()
    status: ServiceStatus = ServiceStatus()

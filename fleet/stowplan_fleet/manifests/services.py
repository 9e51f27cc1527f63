"""Services from InferenceServices: what is written is held against the bounds of the custom resource definition, and refused by its path."""

import re
from typing import Final

from stowplan_fleet import slices
from stowplan_fleet.answers import Basis
from stowplan_fleet.errors import ManifestRefused, SliceNameRefused
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest, PlacementSpec
from stowplan_fleet.services import GraphDigest, Load, OnUnknown, PlacementPolicy, Server, Service, ServiceName, Sharing, Slo

# Bounds, inclusive. An hour is longer than any request anyone waits for; the others bound queues and loops, not wishes.
LATENCY_MS_BOUNDS: Final = (1, 3_600_000)
PERCENTILE_BOUNDS: Final = (1, 99)
REQUESTS_PER_SECOND_BOUNDS: Final = (1, 1_000_000)
PAYLOAD_BOUNDS: Final = (1, 4_096)
CONCURRENCY_BOUNDS: Final = (1, 1_024)
MAX_BATCH_BOUNDS: Final = (1, 4_096)
REPLICAS_BOUNDS: Final = (1, 1_000)
SLICE_CLASSES_MAX: Final = 32
# A prediction that is unknown is none, so that nothing is to be had for less than the last.
MINIMUM_BASES: Final = (Basis.MEASURED, Basis.EXTRAPOLATED, Basis.UNVALIDATED)
INPUTS_MAX: Final = 64
RANK_MAX: Final = 16
EXTENT_BOUNDS: Final = (1, 2**31 - 1)
_RUNTIME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def service_of(manifest: InferenceServiceManifest) -> Service:
    """The service that an InferenceService means.

    Raises:
        ManifestRefused: a value outside its bounds; the message names object, path and bounds.
    """
    name = ServiceName(manifest.metadata.full_name)
    spec = manifest.spec
    check = _Checker(name)
    check.matches("spec.model.runtime", spec.model.runtime, _RUNTIME, "a name such as onnxruntime-cpu")
    low = check.within("spec.replicas.min", spec.replicas.min, REPLICAS_BOUNDS)
    high = low if spec.replicas.max is None else check.within("spec.replicas.max", spec.replicas.max, REPLICAS_BOUNDS)
    if low > high:
        raise check.refused("spec.replicas", f"min {low} is above max {high}")
    input_shapes_of(manifest)
    graph_digest = manifest.status.model.graph_digest
    if graph_digest:
        check.matches("status.model.graphDigest", graph_digest, _DIGEST, "sha256: and 64 hexadecimal digits")
    return Service(
        name=name,
        runtime=spec.model.runtime,
        slo=Slo(
            latency_ms=float(check.within("spec.slo.latencyMilliseconds", spec.slo.latency_milliseconds, LATENCY_MS_BOUNDS)),
            percentile=check.within("spec.slo.percentile", spec.slo.percentile, PERCENTILE_BOUNDS),
        ),
        load=Load(
            requests_per_second=float(check.within("spec.load.requestsPerSecond", spec.load.requests_per_second, REQUESTS_PER_SECOND_BOUNDS)),
            payload_instances=check.within("spec.load.payloadInstances", spec.load.payload_instances, PAYLOAD_BOUNDS),
        ),
        server=Server(
            type=check.matches("spec.server.type", spec.server.type, _RUNTIME, "a name such as onnxruntime or triton"),
            concurrency=check.within("spec.server.concurrency", spec.server.concurrency, CONCURRENCY_BOUNDS),
            max_batch=check.within("spec.server.maxBatch", spec.server.max_batch, MAX_BATCH_BOUNDS),
        ),
        graph_digest=GraphDigest(graph_digest) if graph_digest else None,
        replicas=check.within("status.replicas", manifest.status.replicas, REPLICAS_BOUNDS) if manifest.status.replicas else low,
        replicas_min=low,
        replicas_max=high,
        placement=_placement(spec.placement, check),
    )


def input_shapes_of(manifest: InferenceServiceManifest) -> dict[str, tuple[int, ...]]:
    """The bound input shapes, by input.

    Raises:
        ManifestRefused: too many, or an extent that no tensor has.
    """
    check = _Checker(manifest.metadata.full_name)
    shapes = manifest.spec.model.input_shapes
    if len(shapes) > INPUTS_MAX:
        raise check.refused("spec.model.inputShapes", f"{len(shapes)} inputs; name at most {INPUTS_MAX}")
    for name, shape in shapes.items():
        path = f"spec.model.inputShapes[{name[:64]!r}]"
        if len(shape) > RANK_MAX:
            raise check.refused(path, f"{len(shape)} dimensions; name at most {RANK_MAX}")
        for position, extent in enumerate(shape):
            check.within(f"{path}[{position}]", extent, EXTENT_BOUNDS)
    return {name: tuple(shape) for name, shape in shapes.items()}


def _placement(spec: PlacementSpec, check: "_Checker") -> PlacementPolicy:
    if len(spec.slice_classes) > SLICE_CLASSES_MAX:
        raise check.refused("spec.placement.sliceClasses", f"{len(spec.slice_classes)} entries; name at most {SLICE_CLASSES_MAX}")
    classes = []
    for index, text in enumerate(spec.slice_classes):
        try:
            classes.append(slices.parse_slice_class(text))
        except SliceNameRefused as error:
            raise check.refused(f"spec.placement.sliceClasses[{index}]", str(error)) from error
    return PlacementPolicy(
        on_unknown=OnUnknown(check.one_of("spec.placement.onUnknown", spec.on_unknown, tuple(OnUnknown))),
        sharing=Sharing(check.one_of("spec.placement.sharing", spec.sharing, tuple(Sharing))),
        slice_classes=tuple(classes),
        minimum_basis=Basis(check.one_of("spec.placement.minimumBasis", spec.minimum_basis, MINIMUM_BASES)),
    )


class _Checker:
    """Refuses values of one object by their path."""

    def __init__(self, name: str) -> None:
        self._name = name

    def refused(self, path: str, problem: str) -> ManifestRefused:
        return ManifestRefused(f"InferenceService {self._name}: {path}: {problem}")

    def within(self, path: str, value: int, bounds: tuple[int, int]) -> int:
        low, high = bounds
        if not low <= value <= high:
            raise self.refused(path, f"{value} is not between {low} and {high}")
        return value

    def one_of(self, path: str, value: str, allowed: tuple[str, ...]) -> str:
        if value not in allowed:
            raise self.refused(path, f"{value[:64]!r} is none of {', '.join(allowed)}")
        return value

    def matches(self, path: str, value: str, pattern: re.Pattern[str], wanted: str) -> str:
        if not pattern.fullmatch(value):
            raise self.refused(path, f"{value[:64]!r} is not {wanted}")
        return value

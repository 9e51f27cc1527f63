"""The bounds that `service_of` checks and those of the custom resource definition are the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from stowplan_fleet.manifests import inferenceservices as written
from stowplan_fleet.manifests import services as ours

CRD = Path(__file__).resolve().parents[2] / "charts/stowplan/files/inferenceservices.yaml"


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    """The schema of `spec`."""
    definition = yaml.safe_load(CRD.read_text(encoding="utf-8"))
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return schema


@pytest.mark.parametrize(
    ("group", "field", "bounds"),
    [
        ("slo", "latencyMilliseconds", ours.LATENCY_MS_BOUNDS),
        ("slo", "percentile", ours.PERCENTILE_BOUNDS),
        ("load", "requestsPerSecond", ours.REQUESTS_PER_SECOND_BOUNDS),
        ("load", "payloadInstances", ours.PAYLOAD_BOUNDS),
        ("server", "concurrency", ours.CONCURRENCY_BOUNDS),
        ("server", "maxBatch", ours.MAX_BATCH_BOUNDS),
        ("replicas", "min", ours.REPLICAS_BOUNDS),
        ("replicas", "max", ours.REPLICAS_BOUNDS),
    ],
)
def test_numbers_have_the_same_bounds(spec: dict[str, Any], group: str, field: str, bounds: tuple[int, int]) -> None:
    """What the API server stores, the components read, and the other way round."""
    schema = spec[group]["properties"][field]

    assert (schema["minimum"], schema["maximum"]) == bounds


def test_lists_have_the_same_bounds(spec: dict[str, Any]) -> None:
    """Inputs, their rank and extents, and slice classes."""
    shapes = spec["model"]["properties"]["inputShapes"]
    shape = shapes["additionalProperties"]

    assert (shapes["maxProperties"], shape["maxItems"]) == (ours.INPUTS_MAX, ours.RANK_MAX)
    assert (shape["items"]["minimum"], shape["items"]["maximum"]) == ours.EXTENT_BOUNDS
    assert spec["placement"]["properties"]["sliceClasses"]["maxItems"] == ours.SLICE_CLASSES_MAX


def test_bases_have_the_same_words(spec: dict[str, Any]) -> None:
    """What may be wanted of a prediction, the surest first."""
    assert tuple(spec["placement"]["properties"]["minimumBasis"]["enum"]) == ours.MINIMUM_BASES


def test_defaults_are_the_same(spec: dict[str, Any]) -> None:
    """A field left out means the same to the API server and to a desk without one."""
    assert spec["slo"]["properties"]["percentile"]["default"] == written.SloSpec(latency_milliseconds=1).percentile
    assert spec["load"]["properties"]["payloadInstances"]["default"] == written.LoadSpec(requests_per_second=1).payload_instances
    for field in ("concurrency", "maxBatch"):
        assert spec["server"]["properties"][field]["default"] == 1
    assert spec["placement"]["properties"]["onUnknown"]["default"] == written.PlacementSpec().on_unknown
    assert spec["placement"]["properties"]["sharing"]["default"] == written.PlacementSpec().sharing
    assert spec["placement"]["properties"]["minimumBasis"]["default"] == written.PlacementSpec().minimum_basis

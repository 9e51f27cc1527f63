"""`kubectl explain` reads like documentation: every field says what it is, how large it may be, and what it is where it is left out."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from controlplane_clusters import Cluster
from controlplane_errors import CommandFailed
from support import api_definitions
from support.controlplane import wait_until

pytestmark = pytest.mark.controlplane
Schema = dict[str, Any]
# Optional fields without a default, because being unset means something else than any value.
MEANT_UNSET = {
    "spec.model.digest",  # any file
    "spec.replicas.max",  # as min
    "spec.template.metadata",
    "spec.template.metadata.labels",
    "spec.template.metadata.annotations",
    "spec.template.spec.schedulerName",
    "spec.template.spec.nodeName",
    "spec.template.spec.restartPolicy",
    "spec.template.spec.containers[].resources",
    "spec.template.spec.containers[].resources.limits",
    "spec.template.spec.containers[].resources.requests",
}


@pytest.fixture(scope="module")
def schema(apiserver: Cluster) -> Schema:
    """The schema as the API server publishes it, which is what kubectl reads."""
    api_definitions.serve(apiserver)
    # Published a moment after the API is served.
    path = "/openapi/v3/apis/stowplan.dev/v1alpha1"
    wait_until(lambda: apiserver.answers(path), 20, "the schema is not published")
    found: Schema = json.loads(apiserver.kubectl("get", "--raw", path))["components"]["schemas"]["dev.stowplan.v1alpha1.InferenceService"]
    return found


def fields(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema, bool]]:
    """Every field below spec and status with its path, and whether it must be there."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}".lstrip(".")
        if here.split(".")[0] not in {"spec", "status"}:
            continue
        yield here, field, name in schema.get("required", ())
        yield from fields(field, here)
        yield from fields(field.get("items", {}), f"{here}[]")


def values_of(path: str, field: Schema) -> Iterator[tuple[str, Schema]]:
    """The field itself, and what a list or a map of it holds."""
    yield path, field
    for inner in ("items", "additionalProperties"):
        if isinstance(field.get(inner), dict):
            yield from values_of(f"{path}[]", field[inner])


def test_every_field_says_what_it_is(schema: Schema) -> None:
    """Each has a description that is a sentence, and so has each element of a list or a map; of columns too."""
    found = [(where, value) for path, field, _ in fields(schema) for where, value in values_of(path, field)]
    assert len(found) > 85
    assert [where for where, value in found if not str(value.get("description", "")).endswith(".")] == []
    columns = yaml.safe_load(api_definitions.CRD.read_text())["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns if not str(column.get("description", "")).endswith(".")] == []


def test_every_field_has_bounds(schema: Schema) -> None:
    """Texts have a length, a set or a format; lists and maps a size; integers a least and a largest value; milliseconds and costs, which we write, a least."""
    unbounded = []
    for path, field, _ in fields(schema):
        for where, value in values_of(path, field):
            match value.get("type"):
                case "string":
                    bounded = "maxLength" in value or "enum" in value or value.get("format") == "date-time"
                case "array":
                    bounded = "maxItems" in value
                case "integer" | "number":
                    bounded = "minimum" in value and ("maximum" in value or value["type"] == "number")
                case "object":
                    bounded = "additionalProperties" not in value or "maxProperties" in value
                case _:
                    bounded = "x-kubernetes-int-or-string" in value or value.get("type") == "boolean"
            if not bounded:
                unbounded.append(where)
    assert unbounded == []


def test_every_optional_field_has_a_default_or_means_something_unset(schema: Schema) -> None:
    """What a user may leave out is filled in where `kubectl get -o yaml` shows it, but for a few fields whose absence has a meaning of its own."""
    bare = {path for path, field, required in fields(schema) if path.startswith("spec.") and not required and "default" not in field}
    assert bare == MEANT_UNSET


def test_there_are_no_floating_point_numbers_to_write(schema: Schema) -> None:
    """Integers only in spec: what is written is what is meant."""
    assert [path for path, field, _ in fields(schema) if path.startswith("spec") and field.get("type") == "number"] == []


def test_kubectl_explain_tells_it(apiserver: Cluster, schema: Schema) -> None:
    """By the short name too: the description, the limits and the default of a field as kubectl prints them."""
    assert schema

    def explained() -> str:
        """Nothing while the server has not published the schema yet, which it does some moments after the definition is established."""
        apiserver.kubectl("api-resources", "--api-group=stowplan.dev")  # asks the server anew; `explain` would believe what kubectl remembers
        with contextlib.suppress(CommandFailed):
            return apiserver.kubectl("explain", "stow.spec.slo.percentile")
        return ""

    said = wait_until(explained, 20, "kubectl does not explain")
    assert "Share of the requests for which it shall hold, in percent." in said
    assert "<integer>" in said
    whole = apiserver.kubectl("explain", "inferenceservices.spec", "--recursive")
    assert {"latencyMilliseconds", "requestsPerSecond", "sliceClasses", "onUnknown", "minimumBasis"} <= set(whole.split())
    assert "<no description>" not in apiserver.kubectl("explain", "stow.spec.placement")

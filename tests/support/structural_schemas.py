"""Structural schemas as the API server applies them, as far as ours go: types, bounds, patterns, lists that are maps. No CEL, no pruning."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import yaml
from support.api_definitions import CRD

_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
_DATE: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_WIDTHS: Final = {"int32": 2**31, "int64": 2**63}


@cache
def definition() -> Mapping[str, Any]:
    """Schema of an InferenceService's `spec` and `status`."""
    version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
    properties: Mapping[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]
    return properties


def allows(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a value passes; fields that the schema does not know are not looked at."""
    if ("type" in schema and not _TYPES[schema["type"]](value)) or ("enum" in schema and value not in schema["enum"]):
        return False
    match value:
        case str():
            return _allows_text(schema, value)
        case list():
            return _allows_list(schema, value)
        case dict():
            known = schema.get("properties", {})
            return all(name in value for name in schema.get("required", ())) and all(allows(known.get(name, {}), item) for name, item in value.items())
        case int() | float():
            width = _WIDTHS.get(schema.get("format", ""), float("inf"))
            return bool(schema.get("minimum", -width) <= value <= schema.get("maximum", width))
    return True


def _allows_list(schema: Mapping[str, Any], value: list[Any]) -> bool:
    keys = schema.get("x-kubernetes-list-map-keys", ())
    fits = len(value) <= schema.get("maxItems", len(value)) and all(allows(schema.get("items", {}), item) for item in value)
    return fits and (not keys or len({tuple(str(item[key]) for key in keys) for item in value}) == len(value))


def _allows_text(schema: Mapping[str, Any], value: str) -> bool:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return False
    if schema.get("format") == "date-time" and not _DATE.fullmatch(value):
        return False
    return "pattern" not in schema or re.search(schema["pattern"], value) is not None

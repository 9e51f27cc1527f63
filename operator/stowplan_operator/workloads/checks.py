"""Checks of pod templates: the fields that we read or change, because the custom resource definition lets any shape of them pass.

Everything else of a template is passed on unread; the API server judges it when the Deployment is applied.
"""

from collections.abc import Mapping
from typing import Any, Final

from stowplan_fleet.errors import ManifestRefused

_PATH: Final = "spec.template"
_WORDS: Final[Mapping[type, str]] = {dict: "an object", list: "a list", str: "a string"}


def check(template: Mapping[str, Any]) -> None:
    """Makes sure that a template has the shape that `templates` and `eligibilities` count on; null counts as unset.

    Raises:
        ManifestRefused: names the path of the first field that has another shape.
    """
    metadata = _get(template, _PATH, "metadata", dict)
    for key in ("labels", "annotations"):
        _strings(metadata, f"{_PATH}.metadata", key)
    spec, path = _get(template, _PATH, "spec", dict), f"{_PATH}.spec"
    _strings(spec, path, "nodeSelector")
    for number, toleration in enumerate(_get(spec, path, "tolerations", list)):
        where = f"{path}.tolerations[{number}]"
        _is(toleration, where, dict)
        for key in ("key", "operator", "value", "effect"):
            _get(toleration, where, key, str)
    containers = _get(spec, path, "containers", list)
    if not containers:
        raise ManifestRefused(f"{path}.containers: is empty; name the container that serves the model")
    _check_server(containers[0], f"{path}.containers[0]")


def _check_server(container: Any, path: str) -> None:  # noqa: ANN401 - checked here
    _is(container, path, dict)
    resources = _get(container, path, "resources", dict)
    for key in ("requests", "limits"):
        _get(resources, f"{path}.resources", key, dict)
    for number, entry in enumerate(_get(container, path, "env", list)):
        _is(entry, f"{path}.env[{number}]", dict)
        _get(entry, f"{path}.env[{number}]", "name", str)


def _strings(parent: Mapping[str, Any], path: str, key: str) -> None:
    for name, value in _get(parent, path, key, dict).items():
        _is(value, f"{path}.{key}[{name[:64]!r}]", str)


def _get(parent: Mapping[str, Any], path: str, key: str, kind: type) -> Any:  # noqa: ANN401 - of that kind
    value = parent.get(key)
    if value is None:
        return kind()
    _is(value, f"{path}.{key}", kind)
    return value


def _is(value: object, path: str, kind: type) -> None:
    if not isinstance(value, kind):
        raise ManifestRefused(f"{path}: must be {_WORDS[kind]}, as in a Deployment; found {_named(value)}")


def _named(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    return _WORDS.get(type(value), "a number")

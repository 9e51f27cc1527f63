"""Settings: grouped frozen dataclasses, filled from a YAML file and the environment.

A class has groups (dataclasses) and fields. In the file a group is a mapping; in the environment a field is `<PREFIX><GROUP>_<FIELD>`, in capitals,
and wins over the file. A name that no field has and a value of the wrong type are errors that name it.
"""

import dataclasses
import difflib
import os
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from stowplan_fleet.errors import SettingsRefused

T = TypeVar("T")

# Kubernetes injects these for every Service of the namespace (`STOWPLAN_PREDICTOR_SERVICE_HOST`, `STOWPLAN_PREDICTOR_PORT_50051_TCP`): nobody misspelt them.
_SERVICE_LINK: Final = re.compile(r"(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
_SIZE_MAX_BYTES: Final = 1 << 20


def load(cls: type[T], file: Path | None = None, env_prefix: str = "", environ: Mapping[str, str] | None = None) -> T:
    """Settings of a process.

    Args:
        cls: the dataclass to fill; every field needs a default.
        file: YAML; None for the defaults.
        env_prefix: such as `STOWPLAN_PREDICTOR_`; empty for no environment.
        environ: os.environ when None.

    Raises:
        SettingsRefused: the file cannot be read, or a name or value is not acceptable.
    """
    tree = _read(file) if file is not None else {}
    _check_names(cls, tree, f"{file}: ")
    if env_prefix:
        _overlay(cls, tree, env_prefix, os.environ if environ is None else environ)
    try:
        return msgspec.convert(tree, cls, dec_hook=_decode)
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsRefused(f"settings{f' of {file} and the environment' if file else ''}: {error}") from error


def variables(cls: type[Any], env_prefix: str) -> dict[str, tuple[str, ...]]:
    """Every environment variable that `load` knows, with the path of the field it sets."""
    return {env_prefix + "_".join(path).upper(): path for path in _leaves(cls)}


def show(settings: object) -> str:
    """The effective settings as YAML, in the form `load` reads."""
    plain = msgspec.to_builtins(settings, enc_hook=str)
    return yaml.safe_dump(plain, sort_keys=False)


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _SIZE_MAX_BYTES:
            raise SettingsRefused(f"{file}: larger than {_SIZE_MAX_BYTES} bytes")
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise SettingsRefused(f"{file}: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsRefused(f"{file}: not a mapping")
    return tree


def _groups(cls: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _leaves(cls: type[Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, hint in _groups(cls).items():
        found += _leaves(typing.cast("type[Any]", hint), (*path, name)) if dataclasses.is_dataclass(hint) else [(*path, name)]
    return found


def _check_names(cls: type[Any], tree: dict[str, Any], where: str) -> None:
    groups = _groups(cls)
    for name, value in tree.items():
        if name not in groups:
            raise SettingsRefused(f"{where}{name}: no such setting{_nearest(str(name), groups)}; known are {', '.join(groups)}")
        if dataclasses.is_dataclass(groups[name]):
            if not isinstance(value, dict):
                raise SettingsRefused(f"{where}{name}: must be a mapping of {', '.join(_groups(typing.cast('type[Any]', groups[name])))}")
            _check_names(typing.cast("type[Any]", groups[name]), value, f"{where}{name}.")


def _overlay(cls: type[Any], tree: dict[str, Any], prefix: str, environ: Mapping[str, str]) -> None:
    known = variables(cls, prefix)
    for variable in sorted(name for name in environ if name.startswith(prefix)):
        path = known.get(variable)
        if path is None:
            if _SERVICE_LINK.fullmatch(variable.removeprefix(prefix)):
                continue
            raise SettingsRefused(f"environment variable {variable}: no such setting{_nearest(variable, known)}")
        branch, hint = tree, cls
        for name in path[:-1]:
            branch, hint = branch.setdefault(name, {}), _groups(hint)[name]
        branch[path[-1]] = _parse(environ[variable], _groups(hint)[path[-1]], variable)


def _parse(text: str, hint: Any, variable: str) -> Any:  # noqa: ANN401 - any annotation, any value
    # A tuple is written with commas; everything else as its own text.
    value: Any = [item.strip() for item in text.split(",") if item.strip()] if typing.get_origin(hint) in {tuple, list} else text
    try:
        return msgspec.to_builtins(msgspec.convert(value, hint, strict=False, dec_hook=_decode), enc_hook=str)
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsRefused(f"environment variable {variable}: {error}") from error


def _decode(hint: type[Any], value: Any) -> Any:  # noqa: ANN401 - msgspec's hook for types it does not know
    if hint is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"expected {hint.__name__}, got {type(value).__name__}")


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""

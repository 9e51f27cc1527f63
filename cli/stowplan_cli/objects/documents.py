"""Kubernetes documents in files: YAML or JSON, one or many, bare or in lists, from people or from kubectl. Hostile until proved otherwise."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from stowplan_cli.terminal.exits import Refused

# What kubectl prints of 5,000 nodes with 100,000 pods is a few hundred megabytes; beyond that it is no snapshot that a desk can read.
_LARGEST_BYTES: Final = 1 << 30
_DEEPEST: Final = 128


def _make_loader() -> Any:  # noqa: ANN401 - a class of PyYAML's, which has no common type for libyaml's and its own
    """A safe loader, libyaml's where PyYAML has it (ten times as fast), that reads a timestamp as the text it is, like JSON."""
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"] for first, found in base.yaml_implicit_resolvers.items()
    }
    return type("_Loader", (base,), {"yaml_implicit_resolvers": resolvers})


_LOADER: Final = _make_loader()


def read_objects(path: Path) -> list[dict[str, Any]]:
    """Every object in a file; lists (`kind: List`, `NodeList`) are opened.

    Raises:
        Refused: it cannot be read, is not YAML, or holds what is no Kubernetes object.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise Refused(f"{path}: larger than {_LARGEST_BYTES >> 20} MiB; name fewer namespaces")
        text = path.read_bytes()
        documents = list(yaml.load_all(text, Loader=_LOADER))
    except OSError as error:
        raise Refused(f"{path}: cannot be read ({error.strerror}); name a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise Refused(f"{path}: not YAML: {' '.join(str(error).split())[:512]}") from error
    _check_tree(documents, path)
    return [item for index, document in enumerate(documents) if document is not None for item in _opened(document, f"{path}, document {index + 1}")]


def _opened(document: object, where: str) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise Refused(f"{where}: not a Kubernetes object (a mapping with `kind`)")
    if document["kind"].endswith("List") and "items" in document:
        items = document["items"] or []
        if not isinstance(items, list):
            raise Refused(f"{where}: items is no list")
        kind = document["kind"].removesuffix("List")
        for index, item in enumerate(items):
            # A typed list's items need not repeat their kind.
            named = {"kind": kind, "apiVersion": document.get("apiVersion", ""), **item} if kind and isinstance(item, dict) else item
            yield from _opened(named, f"{where}, item {index + 1}")
    else:
        yield document


def _check_tree(documents: list[Any], path: Path) -> None:
    """Refuses aliases, which can stand for exponentially more than they take in the file, and absurd nesting."""
    seen: set[int] = set()
    level: list[Any] = [documents]
    for _ in range(_DEEPEST):
        containers = [item for item in level if isinstance(item, dict | list) and item]
        if not containers:
            return
        for container in containers:
            if id(container) in seen:
                raise Refused(f"{path}: YAML aliases (*name) are not read here; write the part out where it is used")
            seen.add(id(container))
        level = [child for container in containers for child in (container.values() if isinstance(container, dict) else container)]
    raise Refused(f"{path}: nested deeper than {_DEEPEST} levels")

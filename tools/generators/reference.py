"""Makes docs/reference.md, what users may rely on by name, from the code itself: `python tools/generators/reference.py ROOT` writes below ROOT."""

import ast
import dataclasses
import importlib
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry
from stowplan_extender.metrics import Metrics as ExtenderMetrics
from stowplan_operator.reconciling.metrics import Metrics as OperatorMetrics
from stowplan_predictor.serving.measures import Measures

_CRD = Path("charts/stowplan/files/inferenceservices.yaml")
_ENUMS = (
    ("Conditions", "Of an InferenceService; each has `observedGeneration`.", "stowplan_fleet.reasons", "ConditionType"),
    (
        "Reasons of conditions and events",
        "An event is written where a condition changes its status or reason, never for each look; a condition that begins as unknown has none, but for Ready.",
        "stowplan_fleet.reasons",
        "ConditionReason",
    ),
    (
        "Why a node is refused",
        "Kinds; label `verdict` of `stowplan_extender_nodes_judged_total`. The sentences are in the pod's event.",
        "stowplan_extender.decision.reasons",
        "Reason",
    ),
    ("Why a rung is skipped", "`skipped` in `status.ladder`.", "stowplan_operator.sizing.climbs", "Skip"),
    ("What an answer rests on", "`basis` of predictions, in `status.ladder` and on pods.", "stowplan_fleet.answers", "Basis"),
    ("Why there is no prediction", "Each service's `placement.onUnknown` decides what that means for it.", "stowplan_fleet.answers", "UnknownReason"),
)
_SETTINGS = (
    ("predictor", "stowplan_predictor.serving.settings", "PredictorSettings"),
    ("extender", "stowplan_extender.settings", "ExtenderSettings"),
    ("operator", "stowplan_operator.settings", "OperatorSettings"),
)
# Collectors that prometheus-client brings describe the process itself.
_OWN = re.compile(r"stowplan_")


def _documented(owner: Any) -> dict[str, str]:  # noqa: ANN401 - a class or a module
    """Names with the string that stands under each, or the comment above it."""
    source = textwrap.dedent(inspect.getsource(owner))
    tree = ast.parse(source)
    body = tree.body[0].body if isinstance(owner, type) and isinstance(tree.body[0], ast.ClassDef) else tree.body
    found = {}
    for statement, following in zip(body, [*body[1:], None], strict=True):
        name = _assigned(statement)
        if name and isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant) and isinstance(following.value.value, str):
            found[name] = " ".join(following.value.value.split())
        elif name:
            found[name] = " ".join(_comment_above(source.splitlines(), statement.lineno).split())
    return found


def _assigned(statement: ast.stmt) -> str:
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target if isinstance(statement, ast.AnnAssign) else None
    return target.id if isinstance(target, ast.Name) else ""


def _comment_above(lines: Sequence[str], number: int) -> str:
    """The comment that ends above a line, skipping lines of the same paragraph."""
    start = number - 2
    while start >= 0 and lines[start].strip() and not lines[start].startswith("#"):
        start -= 1
    kept: list[str] = []
    while start >= 0 and lines[start].startswith("#"):
        kept.insert(0, lines[start].lstrip("# "))
        start -= 1
    return " ".join(kept)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str, str, str]]:
    for name, field in (schema.get("properties") or {}).items():
        where = f"{path}.{name}" if path else name
        bounds = [f"{key} {field[key]}" for key in ("minimum", "maximum", "minLength", "maxLength", "maxItems") if key in field]
        if "enum" in field:
            bounds = ["one of " + ", ".join(map(str, field["enum"]))]
        kind = field.get("type", "any") + (" (required)" if name in schema.get("required", ()) else "")
        default = f"`{field['default']}`" if "default" in field and not isinstance(field["default"], dict) else ""
        yield where, kind + (f"; {', '.join(bounds)}" if bounds else ""), default, " ".join(field.get("description", "").split())
        yield from _fields(field, where)
        if isinstance(field.get("items"), dict):
            yield from _fields(field["items"], f"{where}[]")


def _settings(cls: type[Any], prefix: str, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str, str]]:
    hints, docs = typing.get_type_hints(cls), _documented(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from _settings(typing.cast("type[Any]", hint), prefix, (*path, field.name))
            continue
        default = (
            field.default if field.default is not dataclasses.MISSING else field.default_factory() if field.default_factory is not dataclasses.MISSING else ""
        )
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
        variable = "_".join((prefix, *path, field.name)).upper()
        yield ".".join((*path, field.name)), f"`{variable}`", f"`{shown}`" if shown else "", docs.get(field.name, "")


def _metrics(registry: CollectorRegistry) -> Iterator[tuple[str, str, str]]:
    for family in sorted(registry.collect(), key=lambda family: family.name):
        if _OWN.match(family.name):
            total = "_total" if family.type == "counter" else ""
            yield f"`{family.name}{total}`", family.type, family.documentation


def page() -> str:
    """The whole page."""
    crd = yaml.safe_load(_CRD.read_text(encoding="utf-8"))["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    keys = importlib.import_module("stowplan_fleet.keys")
    names = [
        (name, text)
        for name, text in _documented(keys).items()
        if name.endswith(("_LABEL", "_ANNOTATION", "_RESOURCE")) and "stowplan.dev/" in str(getattr(keys, name))
    ]
    parts = [
        "<!-- Generated by `python tools/generators/reference.py`; do not edit. -->",
        "# Reference",
        "What may be relied on by name: a change here is a change for users, and stands in the changelog.",
        "## InferenceService, spec",
        _table(["field", "type and bounds", "default", "what it is"], _fields(crd["spec"])),
        "## InferenceService, status",
        _table(["field", "type and bounds", "default", "what it is"], _fields(crd["status"])),
    ]
    for title, text, module, name in _ENUMS:
        cls = getattr(importlib.import_module(module), name)
        docs = _documented(cls)
        parts += [f"## {title}", text, _table(["name", "meaning"], [(f"`{member.value}`", docs[member.name]) for member in cls])]
    parts += ["## Labels, annotations and resources", _table(["name", "where and what for"], [(f"`{getattr(keys, name)}`", text) for name, text in names])]
    parts += ["## Metrics"]
    for component, registry in (("predictor", Measures().registry), ("extender", ExtenderMetrics().registry), ("operator", OperatorMetrics().registry)):
        parts += [f"### {component}", _table(["metric", "type", "meaning"], _metrics(registry))]
    parts += ["## Settings", "Each process reads a YAML file (`--settings`) and its environment, which wins; an unknown name is refused."]
    for component, module, name in _SETTINGS:
        cls = getattr(importlib.import_module(module), name)
        parts += [f"### {component}", _table(["setting", "variable", "default", "meaning"], _settings(cls, f"STOWPLAN_{component}"))]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) / "docs" / "reference.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(), encoding="utf-8")

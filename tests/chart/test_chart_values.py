"""The values of the chart: each described and checked, each thrown by test_charts.py at the API server, each with an effect."""

import functools
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from controlplane_binaries import Binaries
from support import chart_switches

CHART = Path(__file__).resolve().parents[2] / "charts" / "stowplan"
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
# Objects whose keys are Kubernetes' or the user's own.
_FREE = frozenset({"affinity", "tolerations[]", "topologySpreadConstraints[]", "metricsFrom[]"})


def described(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every value of the schema with its path; items of lists as `[]`."""
    for name, child in node.get("properties", {}).items():
        here = f"{path}.{name}".removeprefix(".")
        yield here, child
        yield from described(child, here)
        if "items" in child:
            yield f"{here}[]", child["items"]
            yield from described(child["items"], f"{here}[]")


ALL = dict(described(SCHEMA))
LEAVES = sorted(chart_switches.leaves(VALUES, ALL))


def differs(switches: tuple[str, ...], path: str) -> bool:
    """Whether the switches set that value to something else than its default."""
    return bool(chart_switches.at(chart_switches.effective(VALUES, switches), path) != chart_switches.at(VALUES, path))


def test_every_value_is_described() -> None:
    """In words, in the schema; Helm's own `global` too."""
    assert not [path for path, node in ALL.items() if not path.endswith("[]") and len(node.get("description", "")) < len("As in a pod.")]


def test_no_misspelt_key_passes_anywhere() -> None:
    """Every object refuses keys that it does not know, or is a map of the user's own keys whose values have a type, or is as in a pod."""
    objects = {path: node for path, node in {"": SCHEMA, **ALL}.items() if node.get("type") == "object"}
    open_ = {path for path, node in objects.items() if "additionalProperties" not in node and path.rpartition(".")[2] not in _FREE and path != "global"}
    assert not open_
    for path, node in objects.items():
        known = node.get("additionalProperties")
        assert known in (None, False) or (isinstance(known, dict) and "type" in known), path


def test_schema_and_values_name_the_same() -> None:
    """What the schema knows has a default in values.yaml, and what values.yaml says the schema knows; `global` is Helm's."""
    assert set(LEAVES) == {path for path, node in ALL.items() if not node.get("properties") and "[]" not in path and path != "global"}


def test_every_switch_is_thrown() -> None:
    """Every boolean and every word of every enumeration is among what test_charts.py hands the API server, defaults included."""
    thrown = [chart_switches.effective(VALUES, switches) for switches in chart_switches.SWITCHES]
    missed = []
    for path, node in ALL.items():
        wanted = [True, False] if node.get("type") == "boolean" else node.get("enum", [])
        found = [chart_switches.at(values, path) for values in thrown] if "[]" not in path else []
        missed += [f"{path}={value}" for value in wanted if value not in found]
    assert not missed


def test_every_value_is_set_to_something_else() -> None:
    """No value is only ever tried with its default."""
    thrown = [chart_switches.effective(VALUES, switches) for switches in chart_switches.SWITCHES]
    assert not [
        path for path in chart_switches.leaves(VALUES, ALL) if all(chart_switches.at(values, path) == chart_switches.at(VALUES, path) for values in thrown)
    ]


@pytest.mark.controlplane
@pytest.mark.parametrize("path", LEAVES)
def test_every_value_changes_what_is_installed(controlplane_binaries: Binaries, path: str) -> None:
    """Taken back to its default, a value that some switch sets renders other objects: none is read by nobody."""
    switches = next(
        found for found in chart_switches.SWITCHES if chart_switches.at(chart_switches.effective(VALUES, found), path) != chart_switches.at(VALUES, path)
    )
    # Certificates that helm makes differ each time.
    quiet = () if any(switch.startswith("tls.") for switch in switches) else ("tls.enabled=false",)
    with_it = rendered(controlplane_binaries, (*switches, *quiet))
    without = tuple(switch for switch in switches if not switch.startswith((f"{path}=", f"{path}[", f"{path}.")))
    assert without != switches
    assert rendered(controlplane_binaries, (*without, *quiet)) != with_it


@functools.cache
def rendered(binaries: Binaries, switches: tuple[str, ...]) -> str:
    """What helm prints; a refusal's reason where it refuses."""
    arguments = [argument for switch in switches for argument in ("--set", switch)]
    command = [str(binaries.path("helm")), "template", "stowplan", str(CHART), "-n", "stowplan-system", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.stdout if run.returncode == 0 else run.stderr

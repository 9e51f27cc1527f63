"""Records of fuzzing, as committed: a file of runs, one a line, each with when, where and on which code it was."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).resolve().parents[1]
_FUZZED: Final = (
    "extender",
    "fleet",
    "operator",
    "predictor/stowplan_predictor/graphs",
    "predictor/stowplan_predictor/fusion",
    "predictor/stowplan_predictor/pipelines",
)
_VERSIONED: Final = ("atheris", "msgspec", "onnx", "protobuf", "numpy")


def add(path: Path, row: Mapping[str, Any]) -> None:
    """Adds a run to a file of records; nothing is half-written."""
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    runs.append({"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **row, "code": _code_digest(), "host": _host(), "versions": _versions()})
    lines = ",\n".join(json.dumps(run) for run in runs)
    fresh = path.with_suffix(".fresh")
    fresh.write_text(f'{{"runs": [\n{lines}\n]}}\n')
    fresh.replace(path)


def _code_digest() -> str:
    """Of the code that was fuzzed, so that a record says what it speaks of."""
    digest = hashlib.sha256()
    for folder in _FUZZED:
        for source in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(source.relative_to(_ROOT).as_posix().encode() + b"\0" + source.read_bytes())
    return f"sha256:{digest.hexdigest()}"


def _host() -> dict[str, Any]:
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release()}


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _VERSIONED}}

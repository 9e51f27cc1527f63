"""Runs of one target in a process of its own: what is wanted, and what came of it."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stowplan" / "fuzzing"
# What caches and the allocator may take between the tenth part of the inputs and the last.
_GROWTH_MB: Final = 100.0
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# libFuzzer's exit codes (FuzzerOptions.h): an error or a crash, a leak or too much memory, a timeout.
_CRASH, _MEMORY, _TIMEOUT = 77, 71, 70
_COVERAGE: Final = re.compile(r"^#(\d+)\s+(INITED|DONE)\s+cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One run."""

    target: str
    engine: str
    """`atheris` or `mutations`."""
    count: int
    """Inputs, at most."""
    seconds: int
    """At most; 0 for no bound."""
    seed: int
    """0 for another one each time."""
    corpus: Path
    """Folder with one folder a target."""


def best_engine() -> str:
    """The guided one, where atheris can be imported."""
    try:
        import atheris  # noqa: F401, PLC0415 -- an extra
    except ImportError:
        return "mutations"
    return "atheris"


def run(wanted: Wanted) -> dict[str, Any]:
    """Fuzzes a target; what was run, and the finding where there is one."""
    wanted = dataclasses.replace(wanted, seed=wanted.seed or time.time_ns() % 2**31)
    folder = wanted.corpus / wanted.target
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    (folder / "findings").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        report, told = Path(scratch) / "report.json", Path(scratch) / "stderr"
        command = [sys.executable, str(Path(__file__).with_name("fuzzing_children.py")), str(report), json.dumps(dataclasses.asdict(wanted), default=str)]
        with told.open("wb") as stderr:
            ended = subprocess.run(command, stdout=stderr, stderr=stderr, env=os.environ | _ONE_THREAD, check=False)
        done = json.loads(report.read_text()) if report.exists() else {"samples": [], "seconds": 0.0}
        text = told.read_text(errors="replace")
    return _row(wanted, ended.returncode, done, text)


def _row(wanted: Wanted, status: int, done: Mapping[str, Any], text: str) -> dict[str, Any]:
    samples: Sequence[Sequence[float]] = done["samples"]
    steps = {step: (int(edges), int(inputs), int(kept)) for inputs, step, edges, _, kept in _COVERAGE.findall(text)}
    counted = int(samples[-1][0]) if samples else 0
    memory = {name: _at(samples, share) for name, share in (("tenth", 0.1), ("half", 0.5), ("end", 1.0))}
    grown = samples and memory["end"] - memory["tenth"] > _GROWTH_MB
    finding = ""
    if status or grown or not samples:
        finding = _finding(text) if status or not samples else f"memory grew from {memory['tenth']} to {memory['end']} MB"
    return {
        "target": wanted.target,
        "engine": wanted.engine,
        "inputs": steps["DONE"][1] if "DONE" in steps else counted,
        "seconds": done["seconds"],
        "seed": wanted.seed,
        "edges": {"start": steps["INITED"][0], "end": steps["DONE"][0]} if steps.keys() >= {"INITED", "DONE"} else None,
        "corpus": steps["DONE"][2] if "DONE" in steps else None,
        "crashes": int(status not in {0, _TIMEOUT, _MEMORY}),
        "hangs": int(status == _TIMEOUT),
        "memoryMegabytes": memory | {"peak": done.get("peakMegabytes", 0.0)},
        "slowestMilliseconds": done.get("slowestMilliseconds", 0.0),
        "finding": finding,
    }


def _at(samples: Sequence[Sequence[float]], share: float) -> float:
    """Memory, MB, once this share of the inputs was run."""
    return next((memory for inputs, memory in samples if inputs >= share * samples[-1][0]), 0.0)


def _finding(text: str) -> str:
    """The last of what the process told, without libFuzzer's progress and without most of a deep trace."""
    lines = [line for line in text.splitlines() if line.strip(" ^") and not line.startswith(("#", "INFO:", "MS:", "WARNING:"))]
    return "\n".join(lines[-16:])[-1500:] or "the process ended without a word"

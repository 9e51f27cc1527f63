"""A short version of `make fuzz`: mutated inputs end in an answer or in an error of ours, in every run the same ones."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support.fuzz_targets import TARGETS, seeds
from support.mutations import mutated

ROOT = Path(__file__).resolve().parents[2]
COUNTS = {"requests": 400, "objects": 400, "models": 60}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_mutated_inputs_end_in_order(target: str) -> None:
    """Each is answered or refused by name; nothing else is raised, and nothing takes long (the test's own limit)."""
    rng, pool = random.Random(20_261_122), list(seeds()[target])
    with TARGETS[target]() as run:
        for data in pool:
            run(data)
        for _ in range(COUNTS[target]):
            data = mutated(rng.choice(pool), rng)
            run(data)
            if rng.random() < 0.1:
                pool.append(data)


def test_the_program_counts_what_it_ran_and_reports_a_finding(tmp_path: Path) -> None:
    """`tools/fuzz.py` says how many inputs, by which engine, and how much memory grew; status 0 where nothing was found."""
    report = tmp_path / "report.json"
    command = [sys.executable, str(ROOT / "tools" / "fuzz.py"), "requests", "--count", "1200", "--engine", "mutations", "--json", str(report)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert run.returncode == 0, run.stdout + run.stderr
    (row,) = json.loads(report.read_text())["targets"]
    assert (row["target"], row["engine"], row["inputs"], row["finding"]) == ("requests", "mutations", 1200, "")
    assert row["peakMegabytes"] > 0

"""A short version of `make fuzz`: mutated inputs end in an answer or in an error of ours, in every run the same ones."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support.fuzz_seeds import seeds
from support.fuzz_targets import MUTATORS, TARGETS
from support.shrinking import shrunk

ROOT = Path(__file__).resolve().parents[2]
COUNTS = {"requests": 400, "objects": 300, "services": 200, "models": 300}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_mutated_inputs_end_in_order(target: str) -> None:
    """Each is answered or refused by name; nothing else is raised, and nothing takes long (the test's own limit)."""
    rng, pool = random.Random(20_261_122), list(seeds()[target])
    with TARGETS[target]() as run:
        for data in pool:
            run(data)
        for _ in range(COUNTS[target]):
            data = MUTATORS[target](rng.choice(pool), rng, 8_192)
            run(data)
            if rng.random() < 0.1:
                pool.append(data)


def test_the_program_records_what_it_ran(tmp_path: Path) -> None:
    """`tools/fuzz.py` adds a run to the records: how many inputs, by which engine, memory on the way, on which code; status 0 where nothing was found."""
    record = tmp_path / "record.json"
    program = [sys.executable, str(ROOT / "tools" / "fuzz.py"), "requests", "--engine", "mutations", "--corpus", str(tmp_path)]
    for seed in ("1", "2"):
        run = subprocess.run([*program, "--count", "100", "--seed", seed, "--record", str(record)], capture_output=True, text=True, check=False, timeout=100)
        assert run.returncode == 0, run.stdout + run.stderr
    first, second = json.loads(record.read_text())["runs"]
    assert (first["target"], first["engine"], first["inputs"], first["seed"]) == ("requests", "mutations", 100, 1)
    assert (second["crashes"], second["hangs"], second["finding"], second["seed"]) == (0, 0, "", 2)
    assert second["memoryMegabytes"]["peak"] > 0
    assert second["code"].startswith("sha256:")


def test_a_strange_target_is_refused() -> None:
    """The program names the targets that there are."""
    run = subprocess.run([sys.executable, str(ROOT / "tools" / "fuzz.py"), "request"], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 2
    assert "there are requests, objects, services, models" in run.stderr


def test_an_input_that_fails_is_shrunk_to_what_fails() -> None:
    """Everything goes that the same error does without; an input that does not fail stays whole."""

    def run(data: bytes) -> None:
        if b"{" in data and b"}" in data:
            raise KeyError(data)

    assert shrunk(b"some { words } more", run) == b"{}"
    assert shrunk(b"nothing wrong", run) == b"nothing wrong"

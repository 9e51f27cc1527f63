"""Fuzzes what strangers send us: `python tools/fuzz.py [requests|objects|services|models ...] [--count N] [--seconds S] [--record FILE]`.

With atheris installed (extra `dev`, Linux) inputs are coverage-guided: libFuzzer's own mutations and ours in turns, from a corpus that is kept from run to
run. Without it, or with `--engine mutations`, they are mutated at random from the seeds, from what the corpus holds and from earlier mutations, several
times as fast; the record says which. Each target runs in a process of its own (`fuzzing_children`), which ends at the first finding: an error that is not
of our own tree, an input that takes longer than ten seconds, or memory that grows by more than a bound. The input is kept beside the corpus;
`--replay TARGET FILE` runs it again, `--shrink TARGET FILE` makes it smaller.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT / "tools"), str(_ROOT / "tests")]

import fuzzing_records  # noqa: E402 -- found by the path above
import fuzzing_runs  # noqa: E402
from fuzzing_runs import Wanted  # noqa: E402

TARGETS: Final = ("requests", "objects", "services", "models")


def main() -> int:
    """Fuzzes every target that is named; 0 where nothing was found."""
    parser = argparse.ArgumentParser(description="Fuzzing of requests, objects, services and model files")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)}; all where none is named")
    parser.add_argument("--count", type=int, default=100_000, help="inputs a target, at most")
    parser.add_argument("--seconds", type=int, default=0, help="of fuzzing a target, at most; 0: as long as it takes")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--engine", choices=("atheris", "mutations"), default=fuzzing_runs.best_engine())
    parser.add_argument("--corpus", type=Path, default=fuzzing_runs.CACHE, help="where inputs that found something new are kept")
    parser.add_argument("--record", type=Path, help="add what was run to this file")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "FILE"), help="run one input, without coverage")
    parser.add_argument("--shrink", nargs=2, metavar=("TARGET", "FILE"), help="make an input that fails smaller, and print it")
    given = parser.parse_args()
    if strangers := set(given.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(strangers))}; there are {', '.join(TARGETS)}")
    if given.replay or given.shrink:
        return _one(*(given.replay or given.shrink), shrink=bool(given.shrink))
    found = []
    for target in given.targets or TARGETS:
        wanted = Wanted(target, given.engine, given.count, given.seconds, given.seed, given.corpus)
        found.append(fuzzing_runs.run(wanted))
        print(json.dumps(found[-1]), flush=True)
        if given.record:
            fuzzing_records.add(given.record, found[-1])
    return int(any(row["finding"] for row in found))


def _one(target: str, path: str, *, shrink: bool) -> int:
    from support.fuzz_targets import TARGETS as OPENED  # noqa: PLC0415 -- heavy
    from support.shrinking import shrunk  # noqa: PLC0415

    data = Path(path).read_bytes()
    with OPENED[target]() as run:
        if not shrink:
            run(data)
            return 0
        print(repr(shrunk(data, run)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

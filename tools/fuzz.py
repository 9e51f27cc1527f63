"""Fuzzes what strangers send us: `python tools/fuzz.py [requests|objects|models ...] [--count N] [--seed S] [--json FILE]`.

With atheris installed (extra `fuzz`) inputs are coverage-guided (libFuzzer's own mutations and ours in turns); without it, mutated at random from the
seeds and from earlier mutations, and the report says so. Each target runs in a process of its own, which ends at the first finding: an error that is
not of our own tree, an input that takes longer than ten seconds, or memory that grew by more than a bound.
"""

import argparse
import json
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any, Final

_ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT / "tests"))

_SLOWEST_S: Final = 10
# What caches and the allocator may take beyond the first thousand inputs.
_GROWTH_MB: Final = 200.0
_WARM_UP: Final = 1_000
_POOL_MAX: Final = 2_000
_FINDING: Final = 77


def main() -> int:
    """Fuzzes every target that is named; 0 where nothing was found."""
    parser = argparse.ArgumentParser(description="Fuzzing of requests, objects and model files")
    parser.add_argument("targets", nargs="*", help="requests, objects, models; all where none is named")
    parser.add_argument("--count", type=int, default=100_000, help="inputs a target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("atheris", "mutations"), default="atheris" if _has_atheris() else "mutations")
    parser.add_argument("--json", type=Path, help="write what was run there")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _allow_depth()
        return (_guided if given.engine == "atheris" else _mutated)(given.child, given.count, given.seed)
    found = []
    for target in given.targets or ("requests", "objects", "models"):
        found.append(_in_a_process(target, given.count, given.seed, given.engine))
        print(json.dumps(found[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps({"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "targets": found}, indent=2) + "\n")
    return int(any(row["finding"] for row in found))


def _in_a_process(target: str, count: int, seed: int, engine: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, __file__, "--child", target, "--count", str(count), "--seed", str(seed), "--engine", engine]
        started = time.monotonic()
        run = subprocess.run(command, env=os.environ | {"FUZZ_REPORT": str(report)}, capture_output=True, text=True, check=False)
        done = json.loads(report.read_text()) if report.exists() else {}
    row = {"target": target, "engine": engine, "inputs": done.get("inputs", 0), "seconds": round(time.monotonic() - started, 1), **done}
    finding = run.returncode != 0 or row["grownMegabytes"] > _GROWTH_MB if "grownMegabytes" in row else True
    return row | {"finding": (run.stderr[-2000:] or f"ended with {run.returncode}") if finding else ""}


class _Count:
    """Counts inputs and watches memory; writes the report now and then, for libFuzzer ends the process by itself."""

    def __init__(self, target: str, count: int) -> None:
        from support.fuzz_targets import TARGETS  # noqa: PLC0415 -- heavy, and to be instrumented

        self._opened = TARGETS[target]()
        self._run = self._opened.__enter__()  # until the process ends
        self._count = count
        self.inputs = 0
        self._rss_mb = 0.0

    def __call__(self, data: bytes) -> None:
        self.inputs += 1
        self._run(data)
        if self.inputs == min(_WARM_UP, self._count):
            self._rss_mb = _rss_mb()
        if self.inputs >= _WARM_UP and (self.inputs % 5_000 == 0 or self.inputs >= self._count):
            self.report()

    def report(self) -> None:
        content = {"inputs": self.inputs, "grownMegabytes": round(_rss_mb() - self._rss_mb, 1), "peakMegabytes": round(_peak_mb(), 1)}
        Path(os.environ["FUZZ_REPORT"]).write_text(json.dumps(content))


def _guided(target: str, count: int, seed: int) -> int:
    import atheris  # noqa: PLC0415 -- an extra

    with atheris.instrument_imports(include=["stowplan_extender", "stowplan_fleet", "stowplan_predictor.graphs"]):
        counted = _Count(target, count)
        from support.fuzz_targets import seeds  # noqa: PLC0415
        from support.mutations import mutated  # noqa: PLC0415

    def custom(data: bytes, largest: int, number: int) -> bytes:
        return mutated(data, random.Random(number), largest) if number % 2 else bytes(atheris.Mutate(data, largest))

    with tempfile.TemporaryDirectory() as corpus:
        for index, seed_input in enumerate(seeds()[target]):
            (Path(corpus) / f"seed-{index}").write_bytes(seed_input)
        flags = [
            f"-runs={count}",
            f"-seed={seed + 1}",
            f"-timeout={_SLOWEST_S}",
            "-rss_limit_mb=4096",
            "-max_len=65536",
            "-print_final_stats=0",
            "-verbosity=0",
        ]
        atheris.Setup(["fuzz", *flags, corpus], counted, custom_mutator=custom)
        atheris.Fuzz()
    return 0


def _mutated(target: str, count: int, seed: int) -> int:
    from support.fuzz_targets import seeds  # noqa: PLC0415
    from support.mutations import mutated  # noqa: PLC0415

    rng, counted, pool = random.Random(seed), _Count(target, count), list(seeds()[target])

    def too_slow(_: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"an input takes longer than {_SLOWEST_S} s: {frame}")

    signal.signal(signal.SIGALRM, too_slow)
    data = pool[0]
    try:
        for _ in range(count):
            data = mutated(rng.choice(pool), rng)
            signal.alarm(_SLOWEST_S)
            counted(data)
            if rng.random() < 0.01:
                # Mutations of mutations; without coverage nobody tells which are worth it.
                pool.append(data)
                del pool[len(seeds()[target]) : -_POOL_MAX]
        signal.alarm(0)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is the finding
        print(f"{type(error).__name__}: {error}\ninput: {data[:2000]!r}", file=sys.stderr)
        return _FINDING
    counted.report()
    return 0


def _allow_depth() -> None:
    """As the extender does at its start."""
    from stowplan_extender import depths  # noqa: PLC0415

    depths.allow()
    logging.disable(logging.CRITICAL)  # what is refused is logged, a hundred thousand times


def _has_atheris() -> bool:
    try:
        import atheris  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


def _rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())

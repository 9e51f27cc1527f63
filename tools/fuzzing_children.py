"""`python tools/fuzzing_children.py REPORT WANTED`: the process that fuzzes one target. Started by `fuzzing_runs`; WANTED is its `Wanted` as JSON."""

import hashlib
import json
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

_SLOWEST_S: Final = 10
_MEMORY_MB: Final = 4096
# Nine thousand levels of brackets fit, which is about what an API server stores.
_INPUT_BYTES_MAX: Final = 24_576
_POOL_MAX: Final = 2_000
_FINDING: Final = 77
# Kept in the report; libFuzzer ends the process by itself, so it is written now and then.
_REPORT_EVERY_S: Final = 1.0
# Each branch of these is watched, which makes them several times slower.
_INSTRUMENTED: Final = {
    "requests": ["stowplan_extender", "stowplan_fleet"],
    "objects": ["stowplan_extender", "stowplan_fleet"],
    "services": ["stowplan_operator", "stowplan_fleet"],
    "models": ["stowplan_predictor.graphs", "stowplan_predictor.fusion", "stowplan_predictor.kernels", "stowplan_predictor.pipelines"],
}


class _Watched:
    """A target whose inputs are counted and timed, and whose memory is watched."""

    def __init__(self, target: str, report: Path, findings: Path) -> None:
        from support.fuzz_targets import TARGETS  # noqa: PLC0415 -- heavy, and to be instrumented

        self._opened = TARGETS[target]()
        self._run = self._opened.__enter__()  # until the process ends
        self._findings = findings
        self._report, self._started_s, self._told_s = report, time.monotonic(), 0.0
        self._samples: list[tuple[int, float]] = []
        self._slowest_s = 0.0
        self.inputs = 0

    def __call__(self, data: bytes) -> None:
        self.inputs += 1
        before_s = time.thread_time()
        try:
            self._run(data)
        except Exception as error:
            kept = self._findings / f"{type(error).__name__}-{hashlib.sha256(data).hexdigest()[:16]}"
            kept.write_bytes(data)
            print(f"input: {kept}", file=sys.stderr)
            raise
        self._slowest_s = max(self._slowest_s, time.thread_time() - before_s)
        if time.monotonic() - self._told_s > _REPORT_EVERY_S:
            self.tell()

    def tell(self) -> None:
        """Writes the report anew."""
        self._told_s = time.monotonic()
        self._samples.append((self.inputs, round(_rss_mb(), 1)))
        content = {
            "samples": self._samples,
            "seconds": round(self._told_s - self._started_s, 1),
            "peakMegabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
            "slowestMilliseconds": round(1000 * self._slowest_s, 1),
        }
        self._report.write_text(json.dumps(content))


def main(report: Path, wanted: dict[str, Any]) -> int:
    """Fuzzes until the wanted count or time is over; ends the process with another status at a finding."""
    logging.disable(logging.CRITICAL)  # what is refused is logged, a hundred thousand times
    return (_guided if wanted["engine"] == "atheris" else _mutated)(report, wanted)


def _guided(report: Path, wanted: dict[str, Any]) -> int:
    import atheris  # noqa: PLC0415 -- an extra

    target, folder = wanted["target"], Path(wanted["corpus"]) / wanted["target"]
    with atheris.instrument_imports(include=_INSTRUMENTED[target]):
        watched = _Watched(target, report, folder / "findings")
        _allow_depth(target)
        from support.fuzz_seeds import seeds  # noqa: PLC0415
        from support.fuzz_targets import MUTATORS  # noqa: PLC0415
    mutated = MUTATORS[target]

    def custom(data: bytes, largest: int, number: int) -> bytes:
        return mutated(data, random.Random(number), largest) if number % 4 else bytes(atheris.Mutate(data, largest))

    with tempfile.TemporaryDirectory() as first:
        for index, seed_input in enumerate(seeds()[target]):
            (Path(first) / f"seed-{index}").write_bytes(seed_input)
        flags = [
            f"-runs={wanted['count']}", f"-max_total_time={wanted['seconds']}", f"-seed={wanted['seed']}", f"-timeout={_SLOWEST_S}",
            f"-rss_limit_mb={_MEMORY_MB}", f"-max_len={_INPUT_BYTES_MAX}", "-print_pcs=0", "-reload=0", f"-artifact_prefix={folder / 'findings'}/",
        ]  # fmt: skip
        # New inputs are kept in the first folder; the seeds are read anew each time.
        atheris.Setup(["fuzz", *flags, str(folder / "corpus"), first], watched, custom_mutator=custom)
        atheris.Fuzz()
    return 0


def _mutated(report: Path, wanted: dict[str, Any]) -> int:
    from support.fuzz_seeds import seeds  # noqa: PLC0415 -- heavy
    from support.fuzz_targets import MUTATORS  # noqa: PLC0415

    target, folder = wanted["target"], Path(wanted["corpus"]) / wanted["target"]
    # What guided runs have found is worth mutating here, too.
    first, mutated = [*seeds()[target], *(path.read_bytes() for path in sorted((folder / "corpus").iterdir()))], MUTATORS[target]
    rng, watched, pool = random.Random(wanted["seed"]), _Watched(target, report, folder / "findings"), list(first)
    _allow_depth(target)
    until_s = time.monotonic() + (wanted["seconds"] or float("inf"))
    signal.signal(signal.SIGALRM, _too_slow)
    data = pool[0]
    try:
        while watched.inputs < wanted["count"] and time.monotonic() < until_s:
            data = mutated(rng.choice(pool), rng, _INPUT_BYTES_MAX)
            signal.alarm(_SLOWEST_S)
            watched(data)
            if rng.random() < 0.01:
                # Mutations of mutations; without coverage nobody tells which are worth it.
                pool.append(data)
                del pool[len(first) : -_POOL_MAX]
        signal.alarm(0)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is the finding
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return _FINDING
    finally:
        watched.tell()
    return 0


def _too_slow(_: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"an input takes longer than {_SLOWEST_S} s: {frame}")


def _allow_depth(target: str) -> None:
    """As the process that reads such inputs does at its start."""
    from stowplan_extender import depths  # noqa: PLC0415
    from stowplan_operator import mains  # noqa: PLC0415

    if target == "services":
        sys.setrecursionlimit(mains.CALLS_MAX)
    elif target != "models":
        depths.allow()


def _rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))

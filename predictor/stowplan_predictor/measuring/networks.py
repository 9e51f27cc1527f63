"""End-to-end latency of a network on a slice, alone: a fresh process, warmed up, on as many cores as the slice has, repeated while others disturbed it."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stowplan_fleet.slices import Slice

from stowplan_predictor.measuring import noises, processes, quotas
from stowplan_predictor.measuring.distributions import Distribution
from stowplan_predictor.measuring.locks import machine_lock

# A sample set above this variation is taken again; fractional slices are multimodal by nature (throttling) and are exempt.
MAX_CV: Final = 0.05
MAX_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class SampleRules:
    """How long a sample set is; the defaults keep one network on one slice within about 20 s."""

    min_runs: int = 30
    min_s: float = 0.8
    """At least half a second: shares of two percent mean nothing in shorter windows."""
    max_s: float = 15.0
    """Of one sample set, even where `min_runs` is not reached."""
    budget_s: float = 20.0
    """Of all attempts together: none is begun after it."""
    warmup_runs: int = 3
    warmup_s: float = 0.15
    fractional_min_s: float = 2.0
    """Twenty quota periods: a shorter window would see an arbitrary part of the throttling."""


@dataclass(frozen=True, slots=True)
class NetworkMeasurement:
    """What was measured; times in milliseconds."""

    slice: Slice
    threads: int
    warmup_runs: int
    distribution: Distribution
    foreign_share: float
    steal_share: float
    attempts: int
    noisy: bool
    """True where no attempt stayed within the limits; the least disturbed one is reported."""
    measured_at: str
    runtime_version: str
    input_shapes: Mapping[str, tuple[int, ...]] = field(hash=False)


@contextmanager
def model_file(onnx_model: bytes | Path) -> Iterator[Path]:
    """A file with the model: the given one, or a temporary one."""
    if isinstance(onnx_model, Path):
        yield onnx_model
        return
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(onnx_model)
        file.flush()
        yield Path(file.name)


@contextmanager
def opened(path: Path, part: Slice, input_shapes: Mapping[str, tuple[int, ...]], skip_cpus: int = 0) -> Iterator[tuple[processes.Worker, dict[str, Any]]]:
    """A fresh process on the slice with the network ready to run; closed at the end.

    Raises:
        CgroupUnavailable: the slice is fractional and no quota can be set.
        RuntimeRefused: the runtime cannot run the network.
    """
    cores, fractional = processes.cores_of(part), processes.is_fractional(part)
    with ExitStack() as stack:
        join = stack.enter_context(quotas.cpu_quota(part.cpu_millicores)) if fractional else None
        worker = stack.enter_context(processes.Worker(join))
        answer = worker.ask(
            "open",
            timeout_s=120,
            model=str(path),
            cpus=processes.placed_cpus(cores, skip_cpus),
            threads=cores,
            # A spinning thread burns the quota that the working one needs.
            spinning=not fractional,
            input_shapes={name: list(shape) for name, shape in input_shapes.items()},
        )
        yield worker, answer


def sampled(worker: processes.Worker, part: Slice, rules: SampleRules) -> tuple[dict[str, Any], int, bool]:
    """Sample sets until one is within the limits: that one (else the least disturbed), the number of attempts, and whether it is noisy."""
    fractional = processes.is_fractional(part)
    began = time.monotonic()
    sets: list[dict[str, Any]] = []
    while len(sets) < MAX_ATTEMPTS and (not sets or time.monotonic() - began < rules.budget_s):
        taken = worker.ask(
            "sample",
            timeout_s=rules.max_s * 3 + 60,
            min_runs=rules.min_runs,
            min_s=rules.fractional_min_s if fractional else rules.min_s,
            max_s=rules.max_s,
        )
        sets.append(taken)
        if _acceptable(taken, fractional):
            return taken, len(sets), False
    return min(sets, key=_disturbance), len(sets), True


def _acceptable(taken: dict[str, Any], fractional: bool) -> bool:  # noqa: FBT001 - private
    quiet = noises.Noise(taken["foreign_share"], taken["steal_share"]).acceptable
    return quiet and (fractional or taken["distribution"]["steady_cv"] <= MAX_CV)


def _disturbance(taken: dict[str, Any]) -> float:
    return float(max(taken["foreign_share"] / noises.LIMIT, taken["steal_share"] / noises.LIMIT, taken["distribution"]["steady_cv"] / MAX_CV))


def measurement_of(part: Slice, worker: processes.Worker, answer: dict[str, Any], rules: SampleRules) -> NetworkMeasurement:
    """Measures a network that is open in a worker."""
    fractional = processes.is_fractional(part)
    warmup = worker.ask("warm_up", timeout_s=120, min_runs=rules.warmup_runs, min_s=2 * quotas.PERIOD_US / 1e6 if fractional else rules.warmup_s)
    taken, attempts, noisy = sampled(worker, part, rules)
    return NetworkMeasurement(
        slice=part,
        threads=processes.cores_of(part),
        warmup_runs=warmup["runs"] + 1,
        distribution=distribution_of(taken),
        foreign_share=taken["foreign_share"],
        steal_share=taken["steal_share"],
        attempts=attempts,
        noisy=noisy,
        measured_at=processes.now_utc(),
        runtime_version=answer["runtime"],
        input_shapes={name: tuple(shape) for name, shape in answer["input_shapes"].items()},
    )


def distribution_of(taken: dict[str, Any]) -> Distribution:
    """The distribution that a worker's answer carries."""
    fields = dict(taken["distribution"])
    return Distribution(**(fields | {"quantiles_ms": tuple(fields["quantiles_ms"])}))


def measure_network(
    onnx_model: bytes | Path,
    slice: Slice,  # noqa: A002 - the word of the house
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    rules: SampleRules | None = None,
    wait_s: float = 600.0,
    on_wait: Callable[[str], None] | None = None,
) -> NetworkMeasurement:
    """Median and distribution of one inference, alone on the slice.

    Raises:
        MachineBusy: another measurement held the machine for over `wait_s`.
        CgroupUnavailable: the slice is fractional and no quota can be set here.
        RuntimeRefused: the runtime cannot run the network, or its inputs have no shape.
        MeasurementError: the machine has fewer cores than the slice.
    """
    with machine_lock(wait_s, on_wait), model_file(onnx_model) as path, opened(path, slice, input_shapes or {}) as (worker, answer):
        return measurement_of(slice, worker, answer, rules or SampleRules())

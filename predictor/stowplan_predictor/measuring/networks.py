"""End-to-end latency of a network on a slice, alone: a fresh process, warmed up, on as many cores as the slice has, repeated while others disturbed it."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stowplan_fleet.slices import Slice

from stowplan_predictor.measuring import noises, processes, quotas, references
from stowplan_predictor.measuring.distributions import Distribution
from stowplan_predictor.measuring.locks import machine_lock
from stowplan_predictor.measuring.references import Reference

# A sample set above this variation is taken again; fractional slices are multimodal by nature (throttling) and are exempt.
MAX_CV: Final = 0.05
MAX_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class SampleRules:
    """How long a sample set is; the defaults keep one network on one slice within about 20 s."""

    min_runs: int = 30
    min_s: float = 0.6
    """At least half a second: shares of two percent mean nothing in shorter windows."""
    max_s: float = 15.0
    """Of one sample set; four times as long where `min_runs` needs it, and refused beyond."""
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
    product_slowdown: float | None
    """A fixed matrix product right before and after, the slower of both, over its best on this machine; None where no best was given."""
    copy_slowdown: float | None
    """The same of a fixed copy in memory."""
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


def sampled(worker: processes.Worker, part: Slice, rules: SampleRules, best: Reference | None) -> tuple[dict[str, Any], int, bool]:
    """Sample sets until one is within the limits: that one (else the least disturbed), the number of attempts, and whether it is noisy."""
    fractional = processes.is_fractional(part)
    began = time.monotonic()
    sets: list[dict[str, Any]] = []
    looked = _look(worker, best)
    while len(sets) < MAX_ATTEMPTS and (not sets or time.monotonic() - began < rules.budget_s):
        taken = worker.ask(
            "sample",
            timeout_s=rules.max_s * 3 + 60,
            min_runs=rules.min_runs,
            min_s=rules.fractional_min_s if fractional else rules.min_s,
            max_s=rules.max_s,
        )
        before, looked = looked, _look(worker, best)
        taken["product_slowdown"] = max(before[0], looked[0]) if best else None
        taken["copy_slowdown"] = max(before[1], looked[1]) if best else None
        sets.append(taken)
        if _disturbance(taken, fractional) <= 1.0:
            return taken, len(sets), False
    return min(sets, key=lambda taken: _disturbance(taken, fractional)), len(sets), True


def _look(worker: processes.Worker, best: Reference | None) -> tuple[float, float]:
    """Slowdowns of the machine itself now; nothing is looked at where there is nothing to hold it against."""
    if best is None:
        return 0.0, 0.0
    seen = worker.ask("look", timeout_s=60)
    return seen["product_ms"] / best.product_ms, seen["copy_ms"] / best.copy_ms


def _disturbance(taken: dict[str, Any], fractional: bool) -> float:  # noqa: FBT001 - private
    """The worst of all measures of disturbance, each over its limit."""
    measures = [taken["foreign_share"] / noises.LIMIT, taken["steal_share"] / noises.LIMIT]
    if not fractional:
        measures.append(taken["distribution"]["steady_cv"] / MAX_CV)
    if taken["product_slowdown"] is not None:
        measures.append(taken["product_slowdown"] / references.MAX_PRODUCT_SLOWDOWN)
        measures.append(taken["copy_slowdown"] / references.MAX_COPY_SLOWDOWN)
    return float(max(measures))


def best_reference(part: Slice, seconds: float = 10.0, wait_s: float = 600.0, on_wait: Callable[[str], None] | None = None) -> Reference:
    """The best times of the fixed work on whole cores of this machine, to hold measurements against.

    Raises:
        MachineBusy: another measurement held the machine for over `wait_s`.
        MeasurementError: the machine has fewer cores than the slice.
    """
    cores = processes.cores_of(part)
    with machine_lock(wait_s, on_wait), processes.Worker() as worker:
        seen = worker.ask("best", timeout_s=seconds * 3 + 60, cpus=processes.placed_cpus(cores), threads=cores, seconds=seconds)
    return Reference(seen["product_ms"], seen["copy_ms"])


def measurement_of(part: Slice, worker: processes.Worker, answer: dict[str, Any], rules: SampleRules, best: Reference | None = None) -> NetworkMeasurement:
    """Measures a network that is open in a worker."""
    fractional = processes.is_fractional(part)
    warmup = worker.ask("warm_up", timeout_s=120, min_runs=rules.warmup_runs, min_s=2 * quotas.PERIOD_US / 1e6 if fractional else rules.warmup_s)
    # Under a quota the fixed work is throttled like everything else, and tells nothing.
    taken, attempts, noisy = sampled(worker, part, rules, None if fractional else best)
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
        product_slowdown=taken["product_slowdown"],
        copy_slowdown=taken["copy_slowdown"],
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
    best: Reference | None = None,
    rules: SampleRules | None = None,
    wait_s: float = 600.0,
    on_wait: Callable[[str], None] | None = None,
) -> NetworkMeasurement:
    """Median and distribution of one inference, alone on the slice.

    With `best` (`best_reference`), sample sets beside which the machine itself was slow are taken again too.

    Raises:
        MachineBusy: another measurement held the machine for over `wait_s`.
        CgroupUnavailable: the slice is fractional and no quota can be set here.
        RuntimeRefused: the runtime cannot run the network, or its inputs have no shape.
        MeasurementError: the machine has fewer cores than the slice.
    """
    with machine_lock(wait_s, on_wait), model_file(onnx_model) as path, opened(path, slice, input_shapes or {}) as (worker, answer):
        return measurement_of(slice, worker, answer, rules or SampleRules(), best)

"""Response times of a real server process under real open-loop load: Poisson arrivals, drawn beforehand from a seed, sent from another core."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stowplan_fleet.slices import Slice

from stowplan_predictor.errors import MeasurementError
from stowplan_predictor.measuring import networks, noises, processes
from stowplan_predictor.measuring.distributions import Distribution
from stowplan_predictor.measuring.locks import machine_lock

# A state is taken again when others disturbed it; states are long, so seldom.
_MAX_ATTEMPTS: Final = 2


@dataclass(frozen=True, slots=True)
class LoadRules:
    """How long each state of load lasts."""

    max_s: float = 14.0
    """Of one state: requests are as many as fit."""
    max_requests: int = 2000
    """More do not make a p95 much surer."""
    closed_runs: int = 150
    """Round trips that the service time is taken from."""
    closed_max_s: float = 4.0


@dataclass(frozen=True, slots=True)
class LoadMeasurement:
    """One state: a network, a slice, a rate."""

    requests_per_second: float
    target_utilization: float
    seed: int
    duration_s: float
    service: Distribution
    """Closed-loop round trips, just before."""
    inference_mean_ms: float
    response: Distribution
    p90_ms: float
    foreign_share: float
    steal_share: float
    attempts: int
    noisy: bool
    measured_at: str


def measure_loads(
    onnx_model: bytes | Path,
    slice: Slice,  # noqa: A002 - the word of the house
    utilizations: Sequence[float],
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    seed: int = 0,
    rules: LoadRules | None = None,
    wait_s: float = 600.0,
    on_wait: Callable[[str], None] | None = None,
) -> tuple[LoadMeasurement, ...]:
    """Response times at several utilisations, one server process each, in the given order.

    Raises:
        MachineBusy: another measurement held the machine for over `wait_s`.
        CgroupUnavailable: the slice is fractional and no quota can be set here.
        RuntimeRefused: the runtime cannot run the network.
        MeasurementError: there is no core left for the generator.
    """
    if any(not 0.0 < utilization < 1.0 for utilization in utilizations):
        raise MeasurementError(f"utilizations {tuple(utilizations)}: name shares between 0 and 1; at 1 and above a queue grows without end")
    if not processes.placed_cpus(1, skip=processes.cores_of(slice)):
        raise MeasurementError(f"slice {slice}: no core is left for the request generator; measure on a larger machine")
    rules = rules or LoadRules()
    measured = []
    with machine_lock(wait_s, on_wait), networks.model_file(onnx_model) as path:
        for position, utilization in enumerate(utilizations):
            states: list[dict[str, Any]] = []
            while len(states) < _MAX_ATTEMPTS:
                states.append(_state(path, slice, input_shapes or {}, utilization, seed * 1000 + position, rules))
                if states[-1]["quiet"]:
                    break
            best = min(states, key=lambda state: float(state["foreign"] + state["steal"]))
            measured.append(_measurement(best, utilization, seed * 1000 + position, len(states)))
    return tuple(measured)


def _state(  # noqa: PLR0917 - private
    path: Path, part: Slice, input_shapes: Mapping[str, tuple[int, ...]], utilization: float, seed: int, rules: LoadRules
) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as folder,
        networks.opened(path, part, input_shapes) as (server, opened),
        processes.Worker() as generator,
    ):
        server.ask("warm_up", timeout_s=120, min_runs=3, min_s=0.15)
        once = server.ask("sample", timeout_s=60, min_runs=5, min_s=0.2, max_s=2.0)["distribution"]["median_ms"]
        # Random bytes are no valid token ids or masks; the first request's own inputs are sent instead.
        payload, endpoint = Path(folder) / "payload", str(Path(folder) / "socket")
        server.ask("dump", timeout_s=30, path=str(payload))
        server.tell("serve", path=endpoint)
        _await_socket(Path(endpoint))
        before, own_before = noises.cpu_times(), time.process_time()
        said = generator.ask(
            "generate",
            timeout_s=rules.max_s * 3 + 120,
            path=endpoint,
            cpus=processes.placed_cpus(1, skip=processes.cores_of(part)),
            payload_file=str(payload),
            closed_runs=int(max(20, min(rules.closed_runs, rules.closed_max_s * 1e3 / once))),
            states=[{"utilization": utilization, "max_requests": rules.max_requests, "max_s": rules.max_s, "seed": seed}],
        )
        served = server.hear("serve", timeout_s=60)
        own_s = served["own_s"] + said["own_s"] + time.process_time() - own_before
        noise = noises.noise_between(before, noises.cpu_times(), own_s)
    return {**said, "foreign": noise.foreign_share, "steal": noise.steal_share, "quiet": noise.acceptable, "opened": opened}


def _await_socket(path: Path) -> None:
    deadline = time.monotonic() + 10.0
    while not path.exists():
        if time.monotonic() > deadline:
            raise MeasurementError("the server did not open its socket within 10 s")
        time.sleep(0.01)


def _measurement(taken: dict[str, Any], utilization: float, seed: int, attempts: int) -> LoadMeasurement:
    state = taken["states"][0]
    return LoadMeasurement(
        requests_per_second=state["requests_per_second"],
        target_utilization=utilization,
        seed=seed,
        duration_s=state["duration_s"],
        service=networks.distribution_of({"distribution": taken["service"]}),
        inference_mean_ms=state["inference_mean_ms"],
        response=networks.distribution_of({"distribution": state["response"]}),
        p90_ms=state["p90_ms"],
        foreign_share=taken["foreign"],
        steal_share=taken["steal"],
        attempts=attempts,
        noisy=not taken["quiet"],
        measured_at=processes.now_utc(),
    )

"""The campaign goes on where it was, ends in time, and keeps what it was told. The worker is scripted: its numbers are made up, in a temporary folder."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow.parquet as pq
import pytest
from stowplan_predictor.errors import DatasetRefused, MeasurementError, RuntimeRefused
from stowplan_predictor.training.cuda import campaigns, machines, plans, tables
from stowplan_predictor.training.cuda.machines import Machine
from stowplan_predictor.training.cuda.plans import EAGER, INDUCTOR, Kind, Unit
from stowplan_predictor.training.cuda.rows import NetworkRow

MACHINE = machines.judge(
    machines.parse_gpus("NVIDIA H200, GPU-3f0c, 580.95.05, 143771, Disabled, Default, Enabled, 345, 1980, 700.00, 34")[0],
    machines.parse_torch({"version": "2.13.0", "cuda": "13.0", "cuda_available": True, "multiprocessors": 132, "compute_capability": "9.0", "triton": "3"}),
    has_mps_control=False,
)


class Clock:
    """Seconds that pass only when a worker says so."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.at


class ScriptedWorker:
    """Answers like a worker, each measurement taking so many seconds of the clock."""

    asked: list[tuple[str, Mapping[str, str]]]

    def __init__(self, clock: Clock, environment: Mapping[str, str], broken: str, output_abs_sum: float) -> None:
        self._clock, self.environment, self._broken, self._sum = clock, environment, broken, output_abs_sum
        self._told: tuple[str, dict[str, Any]] = ("", {})
        self._kernels = True

    def tell(self, command: str, **arguments: Any) -> None:
        """Keeps what is asked."""
        self._told = (command, arguments)

    def hear(self, command: str, timeout_s: float) -> dict[str, Any]:
        """Answers it."""
        assert self._told[0] == command
        return self.ask(command, timeout_s, **self._told[1])

    def ask(self, command: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        """What a worker would say."""
        self._clock.at += min(timeout_s, 2.0 if command in {"wall", "spin", "stop"} else 10.0)
        if command in {"prepare", "open"}:
            if self._broken and self._broken in str(arguments.get("network", "")):
                raise RuntimeRefused(f"{command}: {self._broken} does not compile")
            self._kernels = arguments.get("kernels", True)
            return {"prepared": True, "multiprocessors": 132}
        if command == "measure":
            limited = int(132 * int(self.environment.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "100")) / 100)
            measured: dict[str, Any] = {
                "family": "f", "batch": 1, "wall_ms": [2.0, 2.1, 2.2], "device_ms": [1.0, 1.1], "method": "cuda-graph", "steady": True, "note": "",
                "compile_s": 3.0, "output_sum": 1.0, "output_abs_sum": self._sum, "multiprocessors": limited,
            }  # fmt: skip
            if self._kernels:
                node = {"name": "relu", "target": "aten.relu.default", "inputs": ["arg0"], "shape": [1, 2], "dtype": "f32", "arguments": "arg0"}
                kernel = {"graph": 0, "position": 0, "name": "triton_poi_fused_relu_0", "source": "compiler", "operators": ["aten.relu.default"],
                          "nodes": ["relu"], "shapes": "", "durations_us": [4.0, 5.0, 6.0], "launches": ["triton_poi_fused_relu_0"]}  # fmt: skip
                unknown = {**kernel, "position": 1, "durations_us": [], "launches": []}
                measured |= {"graphs": [{"nodes": [node]}], "kernels": [kernel, unknown]}
            return measured
        if command == "wall":
            return {"wall_ms": [2.0] * 30, "steady": True}
        return {"multiprocessors": 132, "spinning": True, "runs": 100, "seconds": 2.0}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del kind, error, trace


def go(
    folder: Path, runtime: str = EAGER, *, minutes: float = 8.5, broken: str = "", machine: Machine = MACHINE, output: float = 5.0, **more: Any
) -> campaigns.Progress:
    """One slice of work with scripted workers."""
    clock = Clock()
    start: Any = lambda environment: ScriptedWorker(clock, environment, broken, output)  # noqa: E731 - a factory
    found = campaigns.run(runtime, folder, machine, minutes=minutes, start=start, now=clock, **more)
    assert clock.at <= minutes * 60 + 15
    return found


@pytest.fixture(autouse=True)
def no_smi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No nvidia-smi is asked for clocks, whatever this machine has."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    del tmp_path


def test_slices_of_work_add_up_and_nothing_is_measured_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few minutes at a time: each slice goes on where the last one was, until all is done or the campaign's time is spent."""
    whole = plans.allowed
    monkeypatch.setattr(plans, "allowed", lambda runtime, machine: whole(runtime, machine)[:16])
    seen: list[int] = []
    for _ in range(20):
        progress = go(tmp_path / "gpu", minutes=3.5)
        seen.append(progress.done)
        if not progress.left or progress.exhausted:
            break
    dataset = tables.read_dataset(tmp_path / "gpu")

    assert seen == sorted(seen)
    assert len(seen) > 2
    assert progress.done == progress.planned == 16
    keys = [row.unit for row in dataset.rows["networks"] if "/network/" in row.unit]
    assert len(keys) == len(set(keys))
    assert dataset.seconds_spent(EAGER) <= campaigns.MINUTES_IN_ALL * 60 + 15


def test_a_process_that_is_not_ready_in_time_is_ended_before_others_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may still be compiling; the others are measured, and it has a reason."""
    monkeypatch.setattr(campaigns, "cores", lambda: 16)
    events: list[str] = []

    class Slow(ScriptedWorker):
        def ask(self, command: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
            if command == "prepare" and "mobilenet_v2" in arguments.get("network", ""):
                raise MeasurementError("prepare: no answer within 170 s")
            events.append(command)
            return super().ask(command, timeout_s, **arguments)

        def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
            events.append("ended" if kind else "let go")

    clock = Clock()
    start: Any = lambda environment: Slow(clock, environment, "", 1.0)  # noqa: E731 - a factory
    progress = campaigns.run(EAGER, tmp_path / "gpu", MACHINE, minutes=1.5, start=start, now=clock)

    assert events.index("ended") < events.index("measure")
    assert progress.done >= 3
    assert [outcome.reason for outcome in progress.dataset.units.values() if outcome.status == "failed"] == [
        "MeasurementError: prepare: no answer within 170 s"
    ]


def test_a_slice_too_short_for_anything_is_refused(tmp_path: Path) -> None:
    """Run again and again it would do nothing each time: what the shortest unit needs is named instead."""
    with pytest.raises(MeasurementError, match=r"0\.1 minutes are too short .* expected to take 0\."):
        go(tmp_path / "gpu", minutes=0.1)
    assert not (tmp_path / "gpu" / "networks.parquet").exists()


def test_networks_are_made_ready_together_and_measured_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On sixteen cores four at a time: nothing is measured while anything is made ready, and each process measures its own."""
    monkeypatch.setattr(campaigns, "cores", lambda: 16)
    said: list[tuple[str, int, str]] = []
    tell, ask = ScriptedWorker.tell, ScriptedWorker.ask

    def telling(self: ScriptedWorker, command: str, **arguments: Any) -> None:
        said.append((command, id(self), self.environment["TORCHINDUCTOR_COMPILE_THREADS"]))
        tell(self, command, **arguments)

    def asking(self: ScriptedWorker, command: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        if command == "measure":
            said.append((command, id(self), ""))
        return ask(self, command, timeout_s, **arguments)

    monkeypatch.setattr(ScriptedWorker, "tell", telling)
    monkeypatch.setattr(ScriptedWorker, "ask", asking)
    progress = go(tmp_path / "gpu", INDUCTOR, minutes=1.5)

    commands = [command for command, _, _ in said]
    assert progress.done >= 4
    assert commands[:8] == ["prepare"] * 4 + ["measure"] * 4
    assert [worker for _, worker, _ in said[:4]] == [worker for _, worker, _ in said[4:8]]
    assert said[0][2] == "4"


def test_what_is_kept_is_parquet_with_its_provenance(tmp_path: Path) -> None:
    """Device, driver, versions, date and protocol beside the rows; a kernel that could not be told apart has no time instead of a zero."""
    go(tmp_path / "gpu", INDUCTOR, minutes=2.0)
    document = json.loads((tmp_path / "gpu" / "campaign.json").read_text())
    kernels = pq.read_table(tmp_path / "gpu" / "kernels.parquet").to_pylist()

    (machine,) = document["machines"]
    assert (document["product"], machine["gpu"]["driver"], machine["versions"]["torch"]) == ("NVIDIA-H200", "580.95.05", "2.13.0")
    assert machine["date"]
    assert machine["protocol"]["precision"] == "float32, TF32 off"
    assert document["skips"] == dict(MACHINE.skips)
    assert {(row["position"], row["median_us"], *row["launches"]) for row in kernels} == {(0, 5.0, "triton_poi_fused_relu_0"), (1, None)}
    assert sorted(path.name for path in (tmp_path / "gpu").iterdir()) == [
        "campaign.json",
        "kernels.parquet",
        "networks.parquet",
        "nodes.parquet",
        "pairs.parquet",
    ]


def test_every_network_is_measured_beside_every_other_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty rows from one unit, each with alone before and after; one that does not run is left out, and the others stay."""
    monkeypatch.setattr(
        plans, "allowed", lambda runtime, machine: (*plans.plan(runtime, {**machine.skips})[:1], Unit(Kind.PAIR, runtime, "networks", "time-2"))
    )
    go(tmp_path / "all", minutes=8.0)
    rows = pq.read_table(tmp_path / "all" / "pairs.parquet").to_pylist()

    assert len({(row["subject"], row["neighbour"]) for row in rows}) == len(rows) == 20
    assert all(row["subject"] != row["neighbour"] and row["sharing"] == "time-2" for row in rows)
    go(tmp_path / "some", minutes=8.0, broken="vgg11")
    left = pq.read_table(tmp_path / "some" / "pairs.parquet").to_pylist()
    assert len(left) == 12
    assert not any("vgg11" in row["subject"] + row["neighbour"] for row in left)


def test_a_unit_that_fails_is_kept_with_its_reason_and_not_tried_again(tmp_path: Path) -> None:
    """The others go on."""
    progress = go(tmp_path / "gpu", broken="resnet50", minutes=1.0)
    again = go(tmp_path / "gpu", minutes=1.0)
    key = f"{EAGER}/network/resnet50-b1-s224/full"

    assert progress.failed == 1
    assert "does not compile" in again.dataset.units[key].reason
    assert again.done > progress.done > 0


def test_a_unit_cut_off_by_the_end_of_its_slice_is_tried_again(tmp_path: Path) -> None:
    """What ran out of time is no failure."""
    clock = Clock()

    class Stuck(ScriptedWorker):
        def ask(self, command: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
            self._clock.at += timeout_s
            raise MeasurementError(f"{command}: no answer within {timeout_s:g} s {arguments}")

    start: Any = lambda environment: Stuck(clock, environment, "", 1.0)  # noqa: E731 - a factory
    progress = campaigns.run(EAGER, tmp_path / "gpu", MACHINE, minutes=1.0, start=start, now=clock)

    assert clock.at <= 75
    assert progress.failed == 0
    assert progress.left == progress.planned


def test_wrong_results_on_a_part_of_the_gpu_are_noted(tmp_path: Path) -> None:
    """A library that computes something else on fewer multiprocessors gives a time that measures nothing."""
    machine = machines.judge(MACHINE.gpu, MACHINE.torch, has_mps_control=False)
    green = Machine(machine.gpu, machine.torch, has_mps_control=False, skips={"mps": "none", "time": "none"})
    for output in (5.0, 7.0):
        go(tmp_path / "gpu", machine=green, output=output, minutes=3.0)
    rows = [row for row in tables.read_dataset(tmp_path / "gpu").rows["networks"] if isinstance(row, NetworkRow) and row.partition != "full"]

    assert rows
    assert all(("outputs differ" in row.note) is (row.output_abs_sum == 7.0) for row in rows if row.network == plans.PARTITIONED[0])


def test_another_gpus_folder_is_refused(tmp_path: Path) -> None:
    """Measurements of two models never share a folder; neither do they with other files."""
    go(tmp_path / "gpu", minutes=0.5)
    other = machines.judge(
        machines.parse_gpus("Tesla T4, GPU-1, 535.1, 15360, [N/A], Default, Disabled, 300, 1590, 70, 41")[0], MACHINE.torch, has_mps_control=False
    )
    with pytest.raises(DatasetRefused, match="holds measurements of NVIDIA-H200"):
        go(tmp_path / "gpu", machine=other, minutes=0.5)
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "file").write_text("x")
    with pytest.raises(DatasetRefused, match=r"no campaign\.json"):
        go(tmp_path / "strange", minutes=0.5)


def test_rows_of_a_unit_that_was_not_finished_are_dropped(tmp_path: Path) -> None:
    """Killed between two files: campaign.json is written last, and what it does not call done is measured again."""
    go(tmp_path / "gpu", minutes=1.0)
    path = tmp_path / "gpu" / "campaign.json"
    document = json.loads(path.read_text())
    key = next(iter(document["units"]))
    del document["units"][key]
    path.write_text(json.dumps(document))

    assert key not in {row.unit for row in tables.read_dataset(tmp_path / "gpu").rows["networks"]}
    assert key in go(tmp_path / "gpu", minutes=1.0).dataset.units


@pytest.mark.parametrize("wall", [[0.0, 0.0], [float("nan")], [-1.0]])
def test_what_cannot_be_a_time_is_refused(tmp_path: Path, wall: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero, negative and no number: the unit fails, and no row is kept."""
    answered = ScriptedWorker.ask

    def ask(self: ScriptedWorker, command: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        return {**answered(self, command, timeout_s, **arguments), "wall_ms": wall}

    monkeypatch.setattr(ScriptedWorker, "ask", ask)
    progress = go(tmp_path / "gpu", minutes=0.5)

    assert progress.done == 0
    assert progress.dataset.rows["networks"] == []

"""`stowplan profile` shows what the runtime ran, kernel by kernel. Real measurements are tested where they are taken; here their numbers are made up."""

from pathlib import Path
from typing import Any

import pytest
from stowplan_predictor.errors import MachineBusy
from stowplan_predictor.measuring import profiles
from stowplan_predictor.measuring.distributions import describe
from stowplan_predictor.measuring.networks import NetworkMeasurement
from stowplan_predictor.measuring.profiles import KernelProfile, KernelTime
from support.command_lines import Desk, Run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Slices that were profiled; every model gives three kernels that sum to 0.33 ms where the whole took 0.3 ms."""
    slices: list[str] = []

    def profile(model: Path, part: Any, shapes: object, *, on_wait: object) -> KernelProfile:
        del model, shapes, on_wait
        slices.append(str(part))
        whole = NetworkMeasurement(
            slice=part, threads=1, warmup_runs=3, distribution=describe([0.3] * 30), foreign_share=0.0, steal_share=0.0, attempts=1, noisy=False,
            measured_at="2026-01-01T00:00:00Z", runtime_version="0", product_slowdown=None, copy_slowdown=None, input_shapes={},
        )  # fmt: skip
        kernels = tuple(
            KernelTime(index, f"node{index}", kind, "", (), "CPUExecutionProvider", took, 0.9 * took, 1.1 * took, 20)
            for index, (kind, took) in enumerate((("Conv", 100.0), ("Relu", 30.0), ("Conv", 200.0)))
        )
        return KernelProfile(whole, kernels, b"")

    monkeypatch.setattr(profiles, "profile_kernels", profile)
    return slices


def test_kernels_are_printed_longest_first_with_what_is_left(run: Run, desk: Desk, asked: list[str]) -> None:
    """The table stops where it is told, and says how far the profile is from the run."""
    outcome = run("profile", desk.model, "--top", 1)

    assert outcome.status == 0
    assert asked == ["cpu:1"]
    assert "node2" in outcome.stdout
    assert "node0" not in outcome.stdout
    assert "+10.0%" in outcome.stdout
    assert "and 2 more kernels with 39.4% of the time" in outcome.stdout


def test_json_has_every_kernel_in_the_order_in_which_it_ran(run: Run, desk: Desk, asked: list[str]) -> None:
    """Microseconds with their spread, shares that sum to one, and the run without the profiler."""
    document = run("profile", desk.model, "--slice", "cpu:2", "-o", "json").json

    assert asked == ["cpu:2"]
    assert [kernel["name"] for kernel in document["kernels"]] == ["node0", "node1", "node2"]
    assert document["kernels"][1]["microseconds"] == {"median": 30.0, "p25": 27.0, "p75": pytest.approx(33.0)}
    assert sum(kernel["share"] for kernel in document["kernels"]) == pytest.approx(1.0)
    assert document["endToEnd"]["latencyMilliseconds"]["median"] == 0.3
    assert document["kernelsMilliseconds"] == pytest.approx(0.33)


def test_profiles_are_kept_one_file_each(run: Run, desk: Desk, asked: list[str], tmp_path: Path) -> None:
    """A folder grows; nothing in it is overwritten, and each file is what was printed."""
    first, second = (run("profile", desk.model, "--keep", tmp_path, "-o", "json") for _ in range(2))
    files = sorted(path.read_text() for path in tmp_path.iterdir())

    assert len(asked) == len(files) == 2
    assert files == sorted([first.stdout, second.stdout])


@pytest.mark.parametrize(("options", "told"), [(("--slice", "cpu:500m"), "under a quota"), (("--slice", "gpu:9"), "slice"), (("--keep", "nowhere"), "no such")])
def test_what_makes_no_sense_is_refused_before_anything_is_measured(run: Run, desk: Desk, asked: list[str], options: tuple[str, str], told: str) -> None:
    """Fractional slices, slices that are none, folders that are not there."""
    outcome = run("profile", desk.model, *options)

    assert outcome.status == 1
    assert told in outcome.stderr
    assert asked == []


def test_a_busy_machine_is_said_and_nothing_kept(run: Run, desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Status 1 and who holds the machine."""

    def busy(*_: object, **__: object) -> KernelProfile:
        raise MachineBusy("held by process 7: wait for that measurement, or end it")

    monkeypatch.setattr(profiles, "profile_kernels", busy)
    outcome = run("profile", desk.model, "--keep", tmp_path)

    assert outcome.status == 1
    assert "held by process 7" in outcome.stderr
    assert list(tmp_path.iterdir()) == []

"""`--device host` is measured once on a CPU and kept; another CPU, or a damaged file, is measured anew."""

from dataclasses import replace
from pathlib import Path

import pytest
from stowplan_cli.inputs import hosts
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.slices import DeviceName
from stowplan_predictor.errors import MachineBusy
from stowplan_predictor.measuring import devices
from support.command_lines import Desk, Run
from support.synthetic_bundles import DEVICE


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str | None]:
    """Names under which this machine was measured, in order; measuring itself takes 20 s and is tested where it lives."""
    names: list[str | None] = []

    def measure(name: str | None, on_wait: object = None) -> CpuDevice:
        del on_wait
        names.append(name)
        return DEVICE if name is None else replace(DEVICE, name=DeviceName(name))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(devices, "measure_device", measure)
    return names


def test_the_host_is_measured_once(measured: list[str | None]) -> None:
    """The second time its descriptor is read, and is the same."""
    first = hosts.device_named("host")
    second = hosts.device_named("host")

    assert first == second == DEVICE
    assert len(measured) == 1


def test_another_cpu_is_measured_anew(measured: list[str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A home directory that moved to another machine brings no stale numbers."""
    hosts.device_named("host")
    monkeypatch.setattr(devices, "parse_cpuinfo", lambda _: ("Another CPU", ("avx2",)))
    hosts.device_named("host")

    assert len(measured) == 2


def test_another_number_of_cores_is_measured_anew(measured: list[str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A container with another quota is another device."""
    hosts.device_named("host")
    cores = devices.available_cores()
    monkeypatch.setattr(devices, "available_cores", lambda: cores + 1)
    hosts.device_named("host")

    assert len(measured) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_a_damaged_descriptor_is_measured_anew(measured: list[str | None], capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    """It is not used, not fatal, and the reason is said."""
    hosts.device_named("host")
    hosts.cache_file().write_bytes(content)
    hosts.device_named("host")

    assert len(measured) == 2
    assert "cannot be used" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_only_a_pity(measured: list[str | None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The measurement still counts for this run."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))

    assert hosts.measure_host(None) == DEVICE
    assert len(measured) == 1


def test_device_measures_and_keeps(run: Run, measured: list[str | None], desk: Desk) -> None:
    """`stowplan device` measures anew every time; `--cached` reads; its JSON is what `--device FILE` takes."""
    first = run("device", "--name", "lab", "-o", "json")
    again = run("device", "--cached", "-o", "json")

    assert first.status == again.status == 0
    assert first.json["name"] == "lab"
    assert again.json == first.json
    assert measured == ["lab"]
    path = desk.device.with_name("lab.json")
    path.write_text(first.stdout)
    assert run("predict", desk.model, "--bundle", desk.bundle, "--device", path, "--slice", "cpu:1").status == 0


def test_device_prints_a_table_for_people(run: Run, measured: list[str | None]) -> None:
    """Throughput per number of cores."""
    outcome = run("device")

    assert outcome.status == 0
    assert "GFLOP/S" in outcome.stdout
    assert measured == [None]


def test_a_name_that_no_label_can_hold_is_wrong_usage(run: Run, measured: list[str | None]) -> None:
    """Nodes name their device by a label; a name that fits none is found before 20 s are spent."""
    assert run("device", "--name", "no blanks").status == 2
    assert measured == []


def test_a_busy_machine_is_said(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Status 1 and who holds the machine."""

    def busy(*_: object, **__: object) -> CpuDevice:
        raise MachineBusy("held by process 7: wait for that measurement, or end it")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(devices, "measure_device", busy)
    outcome = run("device")

    assert outcome.status == 1
    assert "process 7" in outcome.stderr

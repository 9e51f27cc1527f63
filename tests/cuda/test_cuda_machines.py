"""What a machine allows, and why not: from what `nvidia-smi` and torch say."""

from pathlib import Path
from typing import Any

import pytest
from stowplan_predictor.errors import DeviceUnavailable
from stowplan_predictor.training.cuda import machines, partitions
from stowplan_predictor.training.cuda.machines import Gpu

H200 = "NVIDIA H200, GPU-3f0c, 580.95.05, 143771, Disabled, Default, Enabled, 345, 1980, 700.00, 34"
T4 = "Tesla T4, GPU-77aa, 535.183.01, 15360, [N/A], Default, Disabled, 300, 1590, 70.00, 41"
SEEN: dict[str, Any] = {
    "version": "2.13.0+cu130", "cuda": "13.0", "cuda_available": True, "multiprocessors": 132, "compute_capability": "9.0", "triton": "3.5.0",
    "green_contexts": True,
}  # fmt: skip


def gpu(line: str = H200) -> Gpu:
    return machines.parse_gpus(line)[0]


def test_what_nvidia_smi_says_is_read_and_what_it_does_not_say_is_none() -> None:
    """A data-centre GPU, and one that knows no MIG."""
    found = gpu()
    assert (found.product, found.driver, found.memory_mib, found.mig_enabled, found.max_clock_mhz) == ("NVIDIA-H200", "580.95.05", 143771, False, 1980.0)
    assert gpu(T4).mig_enabled is False
    assert len(machines.parse_gpus(f"{H200}\n{T4}\n")) == 2
    with pytest.raises(DeviceUnavailable, match="columns"):
        machines.parse_gpus("NVIDIA H200, 1")


def test_instances_of_the_first_gpu_are_listed_with_their_names() -> None:
    """As `nvidia-smi -L` prints them; the second GPU's are not ours."""
    listing = (
        "GPU 0: NVIDIA A100 80GB PCIe (UUID: GPU-9f0cc172)\n  MIG 3g.40gb     Device  0: (UUID: MIG-40ed9496)\n"
        "  MIG 1g.10gb     Device  1: (UUID: MIG-ab3c9061)\n"
        "GPU 1: NVIDIA A100 80GB PCIe (UUID: GPU-1)\n  MIG 7g.80gb     Device  0: (UUID: MIG-1)\n"
    )
    assert machines.parse_mig_devices(listing) == (("3g.40gb", "MIG-40ed9496"), ("1g.10gb", "MIG-ab3c9061"))


@pytest.mark.parametrize(
    ("line", "torch", "mps", "skipped"),
    [
        (H200, {}, True, {"green", "mig"}),
        (H200, {}, False, {"mps", "mig"}),
        (H200, {"green_contexts": False}, False, {"mps", "green", "mig"}),
        (H200.replace("Default", "Exclusive_Process"), {}, True, {"mps", "time", "mig"}),
        (H200.replace("Disabled", "Enabled"), {}, True, {"mps", "time", "mig"}),
        (H200, {"triton": None}, True, {"green", "mig", "inductor"}),
        (T4, {"compute_capability": "7.5", "multiprocessors": 40}, True, {"green", "mig"}),
    ],
)
def test_each_part_that_cannot_be_measured_has_its_reason(line: str, torch: dict[str, Any], mps: bool, skipped: set[str]) -> None:  # noqa: FBT001 - a table
    """No MPS daemon, an exclusive compute mode, MIG on without instances, no triton: said, and nothing is changed to make it so."""
    machine = machines.judge(gpu(line), machines.parse_torch({**SEEN, **torch}), has_mps_control=mps)

    assert set(machine.skips) == skipped
    assert all(len(reason) > 20 for reason in machine.skips.values())
    if line == T4:
        assert "cannot be cut" in machine.skips["mig"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [({"version": "2.13.0+cpu", "cuda": None, "cuda_available": False}, "built without CUDA"),
     ({"version": "2.13.0", "cuda": "13.0", "cuda_available": False, "why": "driver too old"}, "driver too old")],
)  # fmt: skip
def test_a_torch_without_a_gpu_is_refused_with_what_to_do(answer: dict[str, Any], told: str) -> None:
    """The message says which torch, why, and what to install."""
    with pytest.raises(DeviceUnavailable, match=told) as refused:
        machines.parse_torch(answer)
    assert "docs/gpu-campaign.md" in str(refused.value)


def test_a_machine_without_a_driver_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """nvidia-smi is asked first; nothing else is loaded."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceUnavailable, match="nvidia-smi is not on the path"):
        machines.read_gpus()


def script(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(("body", "told"), [("echo broken >&2; exit 9", "status 9: broken"), ("true", "lists no GPU")])
def test_an_nvidia_smi_that_fails_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, told: str) -> None:
    """A driver that lost its GPU."""
    script(tmp_path, "nvidia-smi", body)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(DeviceUnavailable, match=told):
        machines.read_gpus()


def test_our_mps_daemon_has_folders_of_its_own_and_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Started as a daemon, told to quit, and nothing left behind; a stand-in writes down what it was told."""
    log = tmp_path / "log"
    script(tmp_path, machines.MPS_CONTROL, f'echo "$* in $CUDA_MPS_PIPE_DIRECTORY of $CUDA_VISIBLE_DEVICES" >> {log}; cat >> {log}')
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with partitions.mps_daemon("GPU-7") as clients:
        pipe = Path(clients["CUDA_MPS_PIPE_DIRECTORY"])
        assert pipe.is_dir()
        assert partitions.environment("mps-25", clients, {})["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "25"

    assert not pipe.exists()
    assert log.read_text().splitlines() == [f"-d in {pipe} of GPU-7", f" in {pipe} of ", "quit -t 10"]


def test_a_daemon_that_died_by_itself_costs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was measured under it is there; that it cannot be told to quit is nobody's trouble."""
    script(tmp_path, machines.MPS_CONTROL, 'test "$1" = -d')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with partitions.mps_daemon("GPU-7"):
        pass


@pytest.mark.parametrize(("told", "refused"), [("0", False), ("3", False), ("[N/A]", False), ("87", True)])
def test_a_gpu_that_somebody_uses_is_refused(told: str, *, refused: bool) -> None:
    """By what the driver tells of the last moments; one that tells nothing is taken."""
    if refused:
        with pytest.raises(DeviceUnavailable, match="busy"):
            machines.refuse_busy(f"{told}\n")
    else:
        machines.refuse_busy(f"{told}\n")


def test_a_daemon_that_does_not_start_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its words are kept."""
    script(tmp_path, machines.MPS_CONTROL, "echo no permission >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(DeviceUnavailable, match="no permission"), partitions.mps_daemon("GPU-7"):
        pass


def test_processes_outside_of_mps_meet_no_daemon_of_the_machine() -> None:
    """Also where somebody's daemon listens at the usual place; a MIG instance is named by its UUID."""
    assert "nonexistent" in partitions.environment("time-2", {}, {})["CUDA_MPS_PIPE_DIRECTORY"]
    assert partitions.environment("mig-1g.10gb", {}, {"1g.10gb": "MIG-1"})["CUDA_VISIBLE_DEVICES"] == "MIG-1"


@pytest.mark.parametrize(
    ("total", "percent", "capability", "expected"), [(132, 25, "9.0", 32), (132, 3, "9.0", 8), (108, 25, "8.0", 26), (108, 2, "8.0", 4), (40, 33, "7.5", 12)]
)
def test_green_contexts_have_multiprocessors_that_the_hardware_can_split_off(total: int, percent: int, capability: str, expected: int) -> None:
    """Multiples of 8 from 8 on Hopper, of 2 from 4 on Ampere, of 2 before."""
    assert partitions.green_multiprocessors(total, percent, capability) == expected


def test_green_contexts_of_unknown_generations_are_not_guessed() -> None:
    """A generation that nobody documented."""
    with pytest.raises(DeviceUnavailable, match="not known"):
        partitions.green_multiprocessors(100, 50, "13.0")

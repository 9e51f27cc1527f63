"""Parts of the real node's harness that need no node: control groups of both versions, names, what a machine lacks."""

import os
import platform
import shutil
from pathlib import Path

import pytest
import realnode_cgroups as cgroups
import realnode_images
import realnode_lifecycles as lifecycles
import realnode_probes as probes
import realnode_programs
from controlplane_binaries import Binaries
from controlplane_errors import StartFailed

POD = "6f1d0b1e-0000-0000-0000-000000000001"


def test_groups_of_version_two_are_given_their_controllers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The controllers that the parent offers are passed down, and the quota is read as cores. Files stand in for the kernel's."""
    group = tmp_path / "it" / "kubepods" / "burstable" / f"pod{POD}"
    group.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "it"):
        (folder / "cgroup.controllers").write_text("cpu memory rdma\n")
    (group / "cpu.max").write_text("150000 100000\n")
    monkeypatch.setattr(cgroups, "_hierarchies", lambda kind: () if kind == "cgroup" else (tmp_path,))
    groups = cgroups.Groups("it")

    groups.make()

    assert groups.unified
    assert [(folder / "cgroup.subtree_control").read_text() for folder in (tmp_path, tmp_path / "it")] == ["+cpu +memory"] * 2
    assert groups.cpu_quota(POD) == 1.5
    (group / "cpu.max").write_text("max 100000\n")
    assert groups.cpu_quota(POD) is None
    with pytest.raises(FileNotFoundError, match="holds pod another"):
        groups.cpu_quota("another")


def test_groups_of_version_one_are_read_as_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fresh cpuset gets its parent's processors; the quota lies in two files."""
    (tmp_path / "cpuset").mkdir()
    for file in ("cpuset.cpus", "cpuset.mems"):
        (tmp_path / "cpuset" / file).write_text("0-1\n")
    group = tmp_path / "cpu" / "it" / "kubepods" / f"pod{POD}"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("50000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    monkeypatch.setattr(cgroups, "_hierarchies", lambda kind: (tmp_path / "cpu", tmp_path / "cpuset") if kind == "cgroup" else ())
    groups = cgroups.Groups("it")

    groups.make()

    assert (tmp_path / "cpuset" / "it" / "cpuset.cpus").read_text() == "0-1\n"
    assert groups.cpu_quota(POD) == 0.5
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert groups.cpu_quota(POD) is None


def test_without_root_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried before."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(probes.RealNodeImpossible, match=r"needs root .* and this is user 1000"):
        probes.require()


def test_on_another_platform_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pinned packages are for one platform."""
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(probes.RealNodeImpossible, match="needs linux-x86_64, and this is linux-riscv64"):
        probes.require()


def test_a_missing_package_without_apt_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What neither Go nor our packages bring is asked of apt-get; without it the package's name is the reason."""
    monkeypatch.setattr(shutil, "which", lambda name: None if name in {"ip", "apt-get"} else f"/usr/bin/{name}")
    with pytest.raises(probes.RealNodeImpossible, match="needs the packages iproute2, and there is no apt-get"):
        probes._install_missing()


def test_the_link_of_a_run_folder_is_a_valid_name_of_its_own(tmp_path: Path) -> None:
    """Two folders never share a link or control groups, and the kernel takes the name."""
    names = {lifecycles._link_of(tmp_path / name) for name in ("a", "b")}
    assert len(names) == 2
    assert all(len(name) <= 15 for name in names)


def test_a_folder_in_use_is_not_started_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message says how to end what runs there, and the folder stays as it was."""
    monkeypatch.setattr(probes, "require", lambda: None)
    monkeypatch.setattr(lifecycles, "ensure", lambda: None)
    monkeypatch.setattr(realnode_programs, "ensure", lambda: None)
    (tmp_path / "ready.json").write_text("{}")
    with pytest.raises(StartFailed, match=r"realnode\.py down --run-dir"):
        lifecycles.up(tmp_path, outlive=False)
    assert (tmp_path / "ready.json").exists()


@pytest.mark.controlplane
def test_every_image_that_the_chart_names_is_one_we_make(controlplane_binaries: Binaries) -> None:
    """A default that a real node could not have is noticed here."""
    assert realnode_images.chart_images(controlplane_binaries) == [
        "localhost/stowplan-extender:0.1.0",
        "localhost/stowplan-operator:0.1.0",
        "localhost/stowplan-predictor:0.1.0",
        "registry.k8s.io/kube-scheduler:v1.36.3",
    ]

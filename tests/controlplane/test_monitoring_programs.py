"""Prometheus, promtool and the Prometheus operator's definitions: pinned, fetched without root, refused where they are not what is pinned."""

import platform
import subprocess
from pathlib import Path

import controlplane_binaries
import definitions
import images_packages
import monitoring_programs
import pytest
from controlplane_errors import BuildFailed
from images_errors import PackagesRefused


@pytest.mark.controlplane
def test_the_programs_are_those_that_are_pinned() -> None:
    """Both run, and say the version of the locked package."""
    programs = monitoring_programs.ensure()
    (pinned,) = (package for package in images_packages.locked("monitoring") if package.name == "prometheus")
    for program in (programs.prometheus, programs.promtool):
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        assert f"revision: {pinned.version})" in said


@pytest.mark.controlplane
@pytest.mark.parametrize(("plural", "kind"), [("certificates", "Certificate"), ("issuers", "Issuer")])
def test_the_definitions_of_certificates_are_cert_managers(plural: str, kind: str) -> None:
    """Those of what our chart renders are there."""
    text = definitions.CERT_MANAGER.path(plural).read_text()
    assert "group: cert-manager.io\n" in text
    assert f"kind: {kind}\n" in text


@pytest.mark.controlplane
@pytest.mark.parametrize(("plural", "kind"), [("servicemonitors", "ServiceMonitor"), ("prometheusrules", "PrometheusRule")])
def test_the_definitions_are_the_operators(plural: str, kind: str) -> None:
    """Those of what our chart renders are there."""
    text = monitoring_programs.definition(plural).read_text()
    assert "kind: CustomResourceDefinition" in text
    assert f"kind: {kind}\n" in text


def test_an_empty_cache_without_a_network_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Package and mirrors are named, and nothing is left that looks like a program."""

    def unreachable(_: str) -> bytes:
        raise OSError("no route")

    monkeypatch.setenv("STOWPLAN_CACHE", str(tmp_path))
    monkeypatch.setattr(images_packages, "_download", unreachable)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(PackagesRefused, match=r"cannot be fetched \(https://deb\.debian\.org/debian: no route; .*is there a network"):
        monitoring_programs.ensure()
    assert not [path for path in (tmp_path / "prometheus").iterdir() if path.is_dir()]


def test_another_platform_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no programs for it, and the message says for which there are."""
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(PackagesRefused, match="linux-x86_64 only, and this is linux-riscv64"):
        monitoring_programs.ensure()


def test_a_go_that_cannot_fetch_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its last words are shown."""
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho no such host >&2\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("STOWPLAN_CACHE", str(tmp_path))
    monkeypatch.setattr(controlplane_binaries, "find_go", lambda: go)
    with pytest.raises(BuildFailed, match=r"is there a network\? Its last words:\nno such host"):
        monitoring_programs.definition("servicemonitors")

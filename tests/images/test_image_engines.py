"""`tools/containers.py`: an engine is used where one works, and not where its client alone is installed."""

import stat
from pathlib import Path

import containers
import pytest


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def engine(folder: Path, name: str, status: int) -> None:
    """A program that ends with that status and keeps a diary."""
    (folder / name).write_text(f'#!/bin/sh\necho "$@" >> {folder}/{name}.diary\nexit {status}\n')
    (folder / name).chmod(stat.S_IRWXU)


def test_a_client_without_a_daemon_is_passed_over(programs: Path) -> None:
    """The first engine that answers is taken."""
    engine(programs, "docker", 1)
    assert containers.working_engine() is None
    engine(programs, "podman", 0)
    assert containers.working_engine() == "podman"


def test_an_engine_builds_one_target_with_the_base_as_asked(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The engine gets the Containerfile, the target, the tag of the chart's default, and the base."""
    engine(programs, "podman", 0)
    assert containers.main(["build", "predictor", "--base", "example.com/python@sha256:0", "--option=--network=host"]) == 0
    asked = (programs / "podman.diary").read_text().splitlines()[-1]
    assert "--target predictor --tag localhost/stowplan-predictor:0.1.0 --build-arg BASE=example.com/python@sha256:0 --network=host" in asked
    assert capsys.readouterr().out == "localhost/stowplan-predictor:0.1.0\n"


def test_an_engine_that_fails_is_an_error(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a status of 1 and the image's name."""
    engine(programs, "docker", 1)
    assert containers.main(["build", "extender", "--engine", "docker"]) == 1
    assert "docker could not build localhost/stowplan-extender:0.1.0" in capsys.readouterr().err


def test_an_unknown_target_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the ones there are."""
    with pytest.raises(SystemExit):
        containers.main(["build", "nonsense"])
    assert "has no target nonsense; it has predictor, extender, operator, example-server" in capsys.readouterr().err

"""Settings from a file and the environment."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from stowplan_fleet import settings
from stowplan_fleet.errors import SettingsRefused


@dataclass(frozen=True, slots=True)
class Listening:
    """Where."""

    host: str = "127.0.0.1"
    port: int = 50051
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """What."""

    targets: tuple[str, ...] = ()
    timeout_s: float = 2.0
    bundle: Path | None = None

    def __post_init__(self) -> None:
        if self.timeout_s <= 0:
            raise ValueError("timeout_s must be above zero")


@dataclass(frozen=True, slots=True)
class Settings:
    """All."""

    listening: Listening = field(default_factory=Listening)
    work: Work = field(default_factory=Work)


def load(tmp_path: Path, text: str = "", environ: dict[str, str] | None = None) -> Settings:
    """Settings from a file with that text."""
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return settings.load(Settings, file, "STOWPLAN_X_", environ or {})


def test_nothing_said_means_the_defaults() -> None:
    """Without file and environment the defaults hold."""
    assert settings.load(Settings, environ={}) == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """File over defaults, environment over file, each value in its own type."""
    environ = {
        "STOWPLAN_X_LISTENING_PORT": "7",
        "STOWPLAN_X_LISTENING_TLS": "true", "STOWPLAN_X_WORK_TARGETS": "a:1, b:2", "STOWPLAN_X_WORK_BUNDLE": "/b", "OTHER": "",
    }  # fmt: skip
    found = load(tmp_path, "listening: {host: '::1', port: 6}\nwork: {timeout_s: 3}", environ)

    assert found == Settings(Listening("::1", 7, tls=True), Work(("a:1", "b:2"), 3.0, Path("/b")))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("listning: {}", "listning.*did you mean listening"),
        ("listening: {prot: 1}", "listening.prot.*did you mean port"),
        ("listening: {port: '50051'}", "port"),
        ("listening: {port: 1.5}", "port"),
        ("listening: 5", "listening"),
        ("- a", "not a mapping"),
        ("a: [", "settings.yaml"),
        ("work: {timeout_s: -1}", "timeout_s must be above zero"),
        ("listening: !!python/object/apply:os.system [ls]", "settings.yaml"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    """An unknown key, a wrong type, broken or hostile YAML: the error names it."""
    with pytest.raises(SettingsRefused, match=named):
        load(tmp_path, text)


@pytest.mark.parametrize(("name", "value"), [("LISTENING_PROT", "1"), ("LISTENING_PORT", "many"), ("LISTENING_TLS", "perhaps")])
def test_bad_variables_are_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    """A misspelt variable and a value of the wrong type name the variable."""
    with pytest.raises(SettingsRefused, match=f"STOWPLAN_X_{name}"):
        load(tmp_path, environ={f"STOWPLAN_X_{name}": value})


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    """Naming a file that is not there is an error, not the defaults."""
    with pytest.raises(SettingsRefused, match=r"nothing\.yaml"):
        settings.load(Settings, tmp_path / "nothing.yaml")


def test_variables_that_kubernetes_injects_are_passed_over(tmp_path: Path) -> None:
    """A Service of the process' own name must not stop it from starting."""
    injected = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_GRPC", "PORT", "PORT_50051_TCP", "PORT_50051_TCP_ADDR"]

    assert load(tmp_path, environ={f"STOWPLAN_X_{name}": "tcp://10.0.0.1:1" for name in injected}) == Settings()


def test_effective_settings_can_be_read_back(tmp_path: Path) -> None:
    """What is shown is a settings file that gives the same settings."""
    some = Settings(Listening(port=9), Work(("a:1",), 1.0, Path("/b")))

    assert load(tmp_path, settings.show(some)) == some
    assert list(yaml.safe_load(settings.show(some))) == ["listening", "work"]
